/// What a run reports: one line of JSON with every member, and a table without those that were not measured.

import Foundation
import Testing

@testable import LoadGenerator

@Suite("Results")
struct LoadResultTests {
    private func object(_ result: LoadResult, _ labels: LoadResult.Labels) throws -> [String: Any] {
        var line: [UInt8] = []
        result.appendJSON(labels, Machine(), to: &line)
        #expect(!line.contains(10))
        return try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
    }

    @Test("the line is JSON, labels escaped, and what was not measured is null")
    func json() throws {
        var labels = LoadResult.Labels()
        labels.label = "a \"b\"\n"
        labels.round = 3
        var result = LoadResult()
        result.readers = 7
        result.cpuPerDelivery = 0.25
        result.latency = (1.5, 2, 3, 4.125)
        result.histogram = [(1_500, 2), (4_125, 1)]
        let members = try object(result, labels)
        #expect(members["label"] as? String == "a \"b\"\n")
        #expect(members["row"] is NSNull)
        #expect(members["round"] as? Int == 3)
        #expect(members["server_cpu_us_per_delivery"] as? Double == 0.25)
        #expect(members["seconds"] is NSNull)
        #expect((members["latency_us"] as? [String: Double])?["p999"] == 3)
        #expect(members["histogram"] as? [[Double]] == [[1.5, 2], [4.125, 1]])
        #expect(try object(LoadResult(), LoadResult.Labels())["latency_us"] is NSNull)
    }

    @Test("numbers keep the digits that count")
    func numbers() {
        #expect(short(0.0123) == "0.012")
        #expect(short(4.956) == "4.96")
        #expect(short(48.26) == "48.3")
        #expect(short(1_234_567) == "1,234,567")
        #expect(grouped(999) == "999")
        #expect(grouped(-1_000) == "-1,000")
        #expect(short(.infinity) == "0")
    }

    @Test("the table says what was measured and nothing else")
    func table() {
        var result = LoadResult()
        result.transport = "sse"
        result.readers = 1_000
        #expect(result.table == "readers  1,000 sse\nfaults   0")
        result.faults = 2
        result.gaps = 1
        #expect(result.table.hasSuffix("faults   2; 1 gaps told, 0 ends"))
    }
}
