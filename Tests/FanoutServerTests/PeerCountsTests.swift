// Whose connections count together, and that every count comes down again.
import FanoutServer
import Reactor
import Testing

@testable import FanoutServer

@Suite("PeerCounts")
struct PeerCountsTests {
    private static func address(_ text: String) -> PeerIdentity { .address(SocketAddress(parsing: text)!) }

    @Test("one IPv4 address, one IPv6 /64 or one user is one peer, whatever the port or the process")
    func keys() {
        let table: [(PeerIdentity, PeerKey, String)] = [
            (Self.address("192.0.2.7:1"), .ipv4(0xC000_0207), "192.0.2.7"),
            (Self.address("192.0.2.7:65535"), .ipv4(0xC000_0207), "192.0.2.7"),
            (Self.address("192.0.2.8:1"), .ipv4(0xC000_0208), "192.0.2.8"),
            (Self.address("[::ffff:192.0.2.7]:1"), .ipv4(0xC000_0207), "192.0.2.7"),
            (Self.address("[2001:db8:1:2::1]:1"), .ipv6Network(0x2001_0DB8_0001_0002), "2001:db8:1:2::/64"),
            (
                Self.address("[2001:db8:1:2:ffff:ffff:ffff:ffff]:9"), .ipv6Network(0x2001_0DB8_0001_0002),
                "2001:db8:1:2::/64"
            ),
            (Self.address("[2001:db8:1:3::1]:1"), .ipv6Network(0x2001_0DB8_0001_0003), "2001:db8:1:3::/64"),
            (Self.address("127.0.0.1:1"), .ipv4(0x7F00_0001), "127.0.0.1"),
            (Self.address("[::1]:1"), .ipv6Network(0), "::/64"),
            (.process(12, user: 1000), .user(1000), "user 1000"), (.process(13, user: 1000), .user(1000), "user 1000"),
            (.process(0, user: 65_534), .user(65_534), "user 65534"),
        ]
        for (identity, key, text) in table {
            #expect(PeerKey(identity) == key, "\(identity)")
            #expect(key.description == text)
        }
        let loopback = table.filter { $0.1.isLoopback }.map(\.2)
        #expect(loopback == ["127.0.0.1", "::/64"])
    }

    private static func limits(_ perAddress: Int?, _ perUser: Int?) throws -> PeerLimits {
        var configuration = Configuration()
        configuration.connectionsPerAddressMax = perAddress
        configuration.connectionsPerUserMax = perUser
        return try PeerLimits(configuration)
    }

    @Test("which limit holds where: by default 1,024 for the addresses of others, none for this machine and its users")
    func table() throws {
        let (loopback, other) = (SocketAddress(parsing: "127.0.0.1:80")!, SocketAddress(parsing: "0.0.0.0:80")!)
        let unix = SocketAddress.unix(path: "x")
        let (mine, theirs, user) = (PeerKey.ipv4(0x7F00_0001), PeerKey.ipv4(0xC000_0207), PeerKey.user(0))
        typealias Row = (address: Int?, user: Int?, asked: [Bool], most: [Int?])
        let rows: [Row] = [
            (nil, nil, [false, true, false], [nil, 1024, nil]), (5, nil, [true, true, false], [5, 5, nil]),
            (nil, 7, [false, true, true], [nil, 1024, 7]), (5, 7, [true, true, true], [5, 5, 7]),
        ]
        for row in rows {
            let limits = try Self.limits(row.address, row.user)
            #expect([loopback, other, unix].map { limits.apply(at: $0) } == row.asked, "\(row)")
            #expect([mine, theirs, user].map { limits.most($0) } == row.most, "\(row)")
        }
        for (address, user) in [(0, nil), (-1, nil), (nil, 0)] as [(Int?, Int?)] {
            #expect(throws: StartError.self) { try Self.limits(address, user) }
        }
    }

    @Test("a limit of N admits N, tells the next 64, and resets those behind; a place that is left is free again")
    func verdicts() throws {
        var limits = try Self.limits(3, nil)
        let key = PeerKey.ipv4(1)
        let verdicts = (0..<70).map { limits.admit(UInt32($0), key) }
        #expect(verdicts[..<3].allSatisfy { $0 == .within })
        #expect(verdicts[3..<67].allSatisfy { $0 == .beyond(.address) })
        #expect(verdicts[67...].allSatisfy { $0 == .farBeyond(.address) })
        #expect(limits.want(0) == .address, "its peer has too many")
        for slot in 4..<70 { limits.forget(UInt32(slot)) }
        #expect(limits.want(3) == .address)
        limits.forget(1)
        #expect(limits.want(3) == nil)
        #expect(limits.admit(1, key) == .beyond(.address))
        #expect(limits.admit(4, .ipv4(2)) == .within, "another address")
        #expect(limits.admit(5, .user(1)) == .within, "nobody limits users")
        #expect(limits.counts.standing(5) == nil, "who is not limited is not counted")
    }

    @Test("counts against a dictionary: every connection counted once, and none left at the end", arguments: 0..<30)
    func model(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        var counts = PeerCounts()
        var model: [UInt32: PeerKey] = [:]
        let keys: [PeerKey] = [.ipv4(1), .ipv4(2), .ipv6Network(1), .ipv6Network(2), .user(1), .user(2)]
        for _ in 0..<600 {
            let slot = UInt32(random.below(80))
            if model[slot] == nil, random.chance(0.6) {
                let key = random.pick(keys)
                model[slot] = key
                #expect(counts.add(slot, of: key) == model.values.count { $0 == key })
            } else {
                model[slot] = nil
                counts.remove(slot)
            }
            #expect(counts.peerCount == Set(model.values).count)
            let other = UInt32(random.below(100))
            let standing = counts.standing(other)
            #expect(standing?.key == model[other])
            #expect(standing?.count == model[other].map { key in model.values.count { $0 == key } })
        }
        for slot in 0..<UInt32(100) { counts.remove(slot) }
        #expect(counts.peerCount == 0)
    }
}
