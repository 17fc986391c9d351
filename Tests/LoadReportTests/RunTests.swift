// Lines of runs: what is read from them, and how those that are hostile, cut or nonsense are refused.

import Testing

@testable import LoadReport

@Suite("Runs")
struct RunTests {
    private func run(_ text: String) throws -> Run {
        try Run(line: Array(text.utf8).span)
    }

    @Test("a whole line is read, and a member that is null was not measured")
    func whole() throws {
        let run = try run(
            """
            {"label":"fanout epoll","row":"idle: SSE","round":3,"transport":"sse","readers":1000,"deliveries":200000,
             "faults":0,"server_cpu_us_per_delivery":3.5,"server_cpu_us_per_event":null,"rss_start":7000000,
             "rss_connected":9000000,"latency_us":{"p50":1,"p99":2.5,"p999":3,"max":4e2},
             "histogram":[[1.5,10],[2.5,3]],"cpu":"model","cores":2,"kernel":"6.1","commit":null,"new":[{}]}
            """)
        #expect((run.label, run.row, run.round) == ("fanout epoll", "idle: SSE", 3))
        #expect(run.figures[.cost] == 3.5)
        #expect(run.figures[.eventCost] == nil)
        #expect(run.figures[.bytesPerReader] == 2000)
        #expect(run.figures[.max] == 400)
        #expect(run.histogram.total == 13)
        #expect(run.origin == ["cpu": "model", "cores": "2", "kernel": "6.1"])
        #expect(run.failure == nil)
    }

    @Test("a run without names has some, and faults make it a failure")
    func bare() throws {
        let bare = try run("{}")
        #expect((bare.label, bare.row, bare.round) == ("server", "runs", 0))
        #expect(try run(#"{"faults":1234}"#).failure == "1,234 deliveries missing, repeated or foreign")
        #expect(try run(#"{"failed":"did not start","faults":2}"#).failure == "did not start")
    }

    @Test("what a run measured is told by its members")
    func measures() throws {
        #expect(try run(#"{"readers":0,"events_per_second":5}"#).measure == .ingest)
        #expect(try run(#"{"readers":5,"deliveries":9,"connects_per_second":5}"#).measure == .delivery)
        #expect(try run(#"{"readers":5,"deliveries":0,"connects_per_second":5}"#).measure == .storm)
        #expect(try run(#"{"readers":5,"connects_per_second":5,"idle_cpu_percent":0}"#).measure == .idle)
    }

    @Test("memory that shrank says nothing of a reader's share")
    func shrunk() throws {
        #expect(try run(#"{"readers":5,"rss_start":9,"rss_connected":8}"#).figures[.bytesPerReader] == nil)
    }

    @Test(
        "a line that is not a run is refused",
        arguments: [
            "", "{", "[]", "null", #"{"label":"a""#, #"{"label":7}"#, #"{"label":"a\u0007"}"#, #"{"row":"\uffff"}"#,
            #"{"round":-1}"#, #"{"round":1.5}"#, #"{"round":1e300}"#, #"{"round":"1"}"#, #"{"readers":-5}"#,
            #"{"server_cpu_us_per_delivery":1e999}"#, #"{"server_cpu_us_per_delivery":"3"}"#,
            #"{"latency_us":{"p50":[]}}"#,
            #"{"histogram":{}}"#, #"{"histogram":[1]}"#, #"{"histogram":[[1]]}"#, #"{"histogram":[[1,2,3]]}"#,
            #"{"histogram":[[2,1],[1,1]]}"#, #"{"histogram":[[1,-1]]}"#, #"{"histogram":[[1,1e308],[2,1e308]]}"#,
            #"{"label":"a","label":"b"}"#, "{\"label\":\"\(String(repeating: "x", count: 201))\"}", "\u{FEFF}{}",
        ])
    func refused(text: String) {
        #expect(throws: RunFault.self) { try run(text) }
    }

    @Test("every cut of a line but the whole is refused, and so is every byte that is replaced by a wild one or none")
    func cuts() throws {
        let whole = Array(line("a", "b: c", 1, cost: 4.5, more: #","latency_us":{"p50":1},"histogram":[[1,2]]"#).utf8)
        _ = try Run(line: whole.span)
        for count in 0..<whole.count {
            #expect(throws: RunFault.self) { try Run(line: whole.span.extracting(..<count)) }
            for byte: UInt8 in [0, 0x22, 0x5C, 0x7B, 0xFF] {
                var changed = whole
                changed[count] = byte
                _ = try? Run(line: changed.span)
            }
        }
    }

    @Test("bad lines are told by file and line, all of them up to a limit")
    func places() {
        #expect(
            messages([line("a", "r", 1, cost: 1), "{", "", #"{"round":-1}"#]).map { $0.prefix(14) } == [
                "runs.jsonl:2: ", "runs.jsonl:4: ",
            ])
        let many = messages(Array(repeating: "{", count: 50))
        #expect(many.count == ReportError.messagesMax + 1)
        #expect(many.last == "and 30 more")
        #expect(messages([]) == ["runs.jsonl: there are no runs"])
    }
}
