// Types made from a schema: exactly the text that is expected, and a compiler that takes it.

import Foundation
import Testing
import Wire

@testable import TypeDefinition

@Suite("Generated types")
struct GenerationTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Generated")

    private func sample() throws -> Schema {
        try schema(
            String(decoding: try Data(contentsOf: Self.folder.appending(path: "sample.jtd.json")), as: UTF8.self))
    }

    /// Compares with the file of that name. `FANOUT_WRITE_GOLDEN=1` writes it instead.
    private func expectFile(_ name: String, _ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let file = Self.folder.appending(path: name)
        if ProcessInfo.processInfo.environment["FANOUT_WRITE_GOLDEN"] == "1" { try Data(text.utf8).write(to: file) }
        let expected = String(decoding: try Data(contentsOf: file), as: UTF8.self)
        #expect(text == expected, "\(name)", sourceLocation: sourceLocation)
    }

    @Test("the sample's types are those of the files, in both languages")
    func golden() throws {
        let schema = try sample()
        try expectFile("sample.swift.txt", schema.swift(named: "Event"))
        try expectFile("sample.ts.txt", schema.typeScript(named: "Event"))
    }

    @Test("each schema of the vectors makes TypeScript whose brackets and quotes are closed")
    func typeScriptIsBalanced() throws {
        for schema in try Self.vectors() {
            let text = schema.typeScript(named: "Event")
            #expect(Self.isBalanced(text), "\(text)")
            #expect(text.contains("export type Event =") || text.contains("export interface Event {"))
        }
        #expect(!Self.isBalanced("export type A = { a: \"}\";"))
    }

    @Test("the Swift of the sample compiles, and events go through it and back unchanged", .timeLimit(.minutes(5)))
    func roundTrip() throws {
        let lines = [
            #"{"at":"2024-01-01T00:00:00Z","default":true,"exit-code":null,"id":"0123456789ab","#
                + #""kind":"container.started","ports":[80,443]}"#,
            #"{"2nd":2.5,"at":"2024-01-01T00:00:00Z","default":false,"exit-code":-1,"extra":{"a":[null,true,1.5,"x"]},"#
                + #""id":"x","kind":"container.started","labels":{"a b":"c"},"mode":"read write","#
                + #""parent":{"name":"p"},"ports":[],"tree":{"left":{"name":"l"},"name":"n"}}"#,
            #"{"kind":"default"}"#,
            #"{"kind":"tree","level":"high","lists":[[],[[]]],"maybe":null,"root":{"left":{"name":"l","right":{"#
                + #""name":"lr"}},"name":"n","self":[{"name":"s"}]},"shape":{"first":{"size":1.5,"t":"dot"},"#
                + #""of":[{"size":0.5,"t":"dot"}],"t":"pair"}}"#,
        ]
        let schema = try sample()
        for line in lines { #expect(errors(schema, line) == []) }
        let wrong = [#"{"kind":"other"}"#, #"{"id":"x"}"#, #"{"kind":"container.started","id":1}"#]
        let printed = try Self.run(schema.swift(named: "Event"), "round-trip.swift", input: lines + wrong)
        #expect(printed == lines + wrong.map { _ in "refused" })
    }

    @Test("the Swift of every schema of the vectors compiles", .timeLimit(.minutes(5)))
    func everyVectorCompiles() throws {
        var text = ""
        for (index, schema) in try Self.vectors().enumerated() {
            // Each in a type of its own, so that their names do not meet.
            let types = schema.swift(named: "Event\(index)")
            text += "public enum Vector\(index) {\n" + types + "}\n"
        }
        try Self.typeCheck(text)
    }

    // MARK: Tools

    /// The schemas of the vectors, each once.
    private static func vectors() throws -> [Schema] {
        let file = folder.deletingLastPathComponent().appending(path: "Vectors/validation.json")
        let tree = try JSONTree.parse(Array(try Data(contentsOf: file)).span)
        var seen: Set<[UInt8]> = []
        return try #require(tree.members).compactMap { vector in
            let schema = try #require(vector.value["schema"])
            return seen.insert(schema.text).inserted ? Schema.compile(schema).schema : nil
        }
    }

    private static func isBalanced(_ text: String) -> Bool {
        var open: [Character] = []
        var isQuoted = false
        var isEscaped = false
        for line in text.split(separator: "\n") where !line.drop(while: { $0 == " " }).hasPrefix("*") {
            if line.drop(while: { $0 == " " }).hasPrefix("/") { continue }
            for character in line {
                if isQuoted {
                    if character == "\"", !isEscaped { isQuoted = false }
                    isEscaped = character == "\\" && !isEscaped
                    continue
                }
                switch character {
                case "\"": isQuoted = true
                case "{": open.append("}")
                case "[": open.append("]")
                case "(": open.append(")")
                case "<": open.append(">")
                case "}", "]", ")", ">": if open.popLast() != character { return false }
                default: break
                }
            }
            if isQuoted { return false }
        }
        return open.isEmpty
    }

    private static func typeCheck(_ text: String) throws {
        try inFolder { folder in
            try Data(text.utf8).write(to: folder.appending(path: "Types.swift"))
            let (status, output) = try execute(
                "swiftc", ["-typecheck", "-swift-version", "6", folder.appending(path: "Types.swift").path])
            #expect(status == 0, "\(output.prefix(4000))")
            #expect(!output.contains("warning:"), "\(output.prefix(4000))")
        }
    }

    /// Compiles types with a program of this folder and gives it lines; returns those that it prints.
    private static func run(_ types: String, _ program: String, input: [String]) throws -> [String] {
        try inFolder { work in
            try Data(types.utf8).write(to: work.appending(path: "Types.swift"))
            try FileManager.default.copyItem(
                at: folder.appending(path: program), to: work.appending(path: "main.swift"))
            let built = work.appending(path: "program").path
            let (status, output) = try execute(
                "swiftc",
                ["-swift-version", "6", "-o", built]
                    + ["Types", "main"].map { work.appending(path: "\($0).swift").path })
            #expect(status == 0, "\(output.prefix(4000))")
            guard status == 0 else { return [] }
            let text = input.map { $0 + "\n" }.joined()
            try Data(text.utf8).write(to: work.appending(path: "input"))
            let (_, printed) = try execute("sh", ["-c", "\(built) < \(work.appending(path: "input").path)"])
            return printed.split(separator: "\n").map(String.init)
        }
    }

    private static func inFolder<Result>(_ work: (URL) throws -> Result) throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "fanout-types-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        return try work(folder)
    }

    private static func execute(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [program] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }
}
