// Bytes that the server keeps for each connection: the rows of its tables, held against what is committed here.

import Testing

@testable import FanoutServer
@testable import Reactor

@Suite("Bytes of a connection")
struct RowBytesTests {
    /// What one more idle reader costs beside its kernel sockets; `Tests/counts.sh` measures the same from outside.
    private static let bytesMost = 184

    @Test("a connection's rows in all tables are no larger than they were")
    func rows() {
        let rows: [(name: String, bytes: Int, most: Int)] = [
            ("ConnectionTable", MemoryLayout<Connection>.stride, 128),
            ("of these the ring", MemoryLayout<OutboundRing>.stride, 44),
            ("FlushQueue", MemoryLayout<UInt32>.stride, 4),
            ("SlotList of its group", MemoryLayout<UInt32>.stride, 4),
            ("PeerCounts", MemoryLayout<UInt32>.stride, 4),
            ("SocketTable", MemoryLayout<SocketRecord>.stride, 16),
            ("TimerWheel", MemoryLayout<TimerWheel.Entry>.stride, 16),
            ("EpollBackend", MemoryLayout<EpollSlot>.stride, 12),
        ]
        for row in rows {
            #expect(row.bytes <= row.most, "\(row.name): \(row.bytes) bytes, at most \(row.most)")
            if row.bytes < row.most { print("\(row.name): \(row.bytes) bytes: \(row.most) can be lowered") }
        }
        let sum = rows.reduce(0) { $0 + $1.bytes } - MemoryLayout<OutboundRing>.stride
        #expect(sum <= Self.bytesMost, "\(sum) bytes for each connection, at most \(Self.bytesMost)")
        if sum < Self.bytesMost { print("\(sum) bytes for each connection: \(Self.bytesMost) can be lowered") }
    }
}
