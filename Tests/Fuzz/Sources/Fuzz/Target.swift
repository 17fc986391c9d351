// The targets: what the fuzzer feeds, by name.

/// One input, lent for one call.
typealias Input = UnsafeBufferPointer<UInt8>

/// A way to judge any bytes at all. The name is that of its corpus below Tests/Fuzz/Corpora.
struct Target: Sendable {
    let name: String
    let judge: @Sendable (Input) -> Void

    static let all = [
        Target(name: "request-head", judge: RequestHeadTarget.judge),
        Target(name: "chunked-body", judge: ChunkedBodyTarget.judge),
        Target(name: "websocket-frames", judge: WebSocketTarget.judge),
        Target(name: "lines-json", judge: LineTarget.judge),
        Target(name: "encoders", judge: EncoderTarget.judge),
        Target(name: "names", judge: NameTarget.judge),
        Target(name: "schemas", judge: SchemaTarget.judge),
        Target(name: "canary", judge: CanaryTarget.judge),
    ]

    /// The target that `--target=NAME` asks for; where there is none it ends the program.
    static func named(_ arguments: [String]) -> Target {
        let flag = "--target="
        let name = arguments.first { $0.hasPrefix(flag) }?.dropFirst(flag.count) ?? ""
        if let target = all.first(where: { $0.name == name }) { return target }
        let names = all.map(\.name).joined(separator: ", ")
        fail("no target '\(name)': --target= takes one of \(names)")
    }
}
