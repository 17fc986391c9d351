// Bytes that the loop keeps for each socket: the rows of its tables, held against what is committed here.

import Testing

@testable import Reactor

@Suite("Bytes of a socket")
struct RowBytesTests {
    @Test("a socket's rows in the loop's tables are no larger than they were")
    func rows() {
        let rows: [(name: String, bytes: Int, most: Int)] = [
            ("SocketTable", MemoryLayout<SocketRecord>.stride, 16),
            ("TimerWheel", MemoryLayout<TimerWheel.Entry>.stride, 16),
            ("EpollBackend", MemoryLayout<EpollSlot>.stride, 12),
        ]
        for row in rows {
            #expect(row.bytes <= row.most, "\(row.name): \(row.bytes) bytes, at most \(row.most)")
            if row.bytes < row.most { print("\(row.name): \(row.bytes) bytes: \(row.most) can be lowered") }
        }
        #expect(rows.reduce(0) { $0 + $1.bytes } <= 44, "all rows of a socket")
    }
}
