// The project's own goals: every row and every label that they name is measured by bench/compare.

import Glibc
import Testing

@testable import LoadReport

@Suite("Goals file")
struct GoalsFileTests {
    /// A file below `bench`.
    private func file(_ name: String) throws -> ReportInput {
        let here = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false)
        let path = (here.dropLast(3) + ["bench", Substring(name)]).joined(separator: "/")
        let stream = try #require(fopen(path, "r"), "\(path): \(String(cString: strerror(errno)))")
        defer { fclose(stream) }
        var bytes: [UInt8] = []
        while case let byte = getc(stream), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        return ReportInput(name: name, bytes: bytes)
    }

    private func lines(_ name: String) throws -> [String] {
        var lines: [String] = []
        try file(name).forEachLine { _, line in
            lines.append(String(decoding: line.indices.map { line[$0] }, as: UTF8.self))
        }
        return lines
    }

    @Test("every row and every server that a goal names exists")
    func names() throws {
        let rows = Set(
            try lines("workloads").filter { !$0.hasPrefix("#") }.map { line in
                line.split(separator: "|").prefix(2).map { part in
                    String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
                }.joined(separator: ": ")
            })
        try #require(rows.contains("one at a time: TCP, 1,000 readers"))
        var labels: Set<String> = ["fanout io_uring", "fanout epoll"]
        for name in ["floor", "threads", "nchan", "nats", "redis", "mosquitto"] {
            for line in try lines("subjects/\(name).sh") where line.hasPrefix("label[") {
                labels.formUnion(line.split(separator: "\"").dropFirst().prefix(1).map(String.init))
            }
        }
        #expect(labels.count == 9)
        let factors = try GoalReader.read(try file("goals")).flatMap(\.factors)
        #expect(factors.count > 60)
        #expect(Set(factors.map(\.row)).subtracting(rows) == ["*"])
        #expect(Set(factors.map(\.label)).subtracting(labels) == [])
    }
}
