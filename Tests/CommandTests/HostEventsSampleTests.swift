/// The samples of processors, memory, network and disks, from a made-up `/proc` and from this machine's.

import Foundation
import Testing

@testable import HostEvents

@Suite("Samples of the host")
struct HostEventsSampleTests {
    @Test("processor shares are those of the time between two readings")
    func processorShares() throws {
        let proc = try FakeProc()
        try proc.write(
            "proc/stat",
            """
            cpu  1000 0 500 8000 100 0 0 0 0 0
            cpu0 500 0 250 4000 50 0 0 0 0 0
            cpu1 500 0 250 4000 50 0 0 0 0 0
            intr 1 2 3
            ctxt 10000
            processes 50
            procs_running 2

            """)
        try proc.write("proc/loadavg", "0.31 1.05 12.00 3/96 9793\n")
        #expect(try proc.sample().of("cpu.sample").isEmpty, "rates need two readings")
        try proc.write(
            "proc/stat",
            """
            cpu  1050 10 520 8080 110 5 5 20 7 0
            cpu0 600 0 250 4000 50 0 0 0 0 0
            cpu2 1 1 1 1 1 1 1 1 0 0
            cpu1 500 0 250 4100 50 0 0 0 0 0
            ctxt 14000
            processes 55

            """)
        let event = try #require(try proc.sample(after: 2000).of("cpu.sample").first)
        #expect(event.channel == "host/cpu")
        #expect(event.number("usage_percent") == 55)
        #expect(event.number("user_percent") == 30)
        #expect(event.number("system_percent") == 15)
        #expect(event.number("iowait_percent") == 5)
        #expect(event.number("steal_percent") == 10)
        #expect(event.numbers("cores_percent") == [100, 0], "a core that has just come online has no share yet")
        #expect(event.numbers("load") == [0.31, 1.05, 12])
        #expect(event.number("runnable") == 3)
        #expect(event.number("tasks") == 96)
        #expect(event.number("switches_per_s") == 2000)
        #expect(event.number("forks_per_s") == 2.5)
        #expect(event.text.contains("\"load\":[0.31,1.05,12.00]"))
    }

    @Test("memory is told in bytes, with what waits for it")
    func memory() throws {
        let proc = try FakeProc()
        try proc.write(
            "proc/meminfo",
            """
            MemTotal:        1000000 kB
            MemFree:          100000 kB
            MemAvailable:     750000 kB
            Buffers:            1000 kB
            Cached:           300000 kB
            SwapCached:            7 kB
            SwapTotal:         50000 kB
            SwapFree:          40000 kB
            Dirty:                12 kB

            """)
        try proc.write(
            "proc/pressure/memory",
            "some avg10=1.25 avg60=0.40 avg300=0.10 total=123\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=45\n")
        let event = try #require(try proc.sample().of("memory.sample").first)
        #expect(event.channel == "host/memory")
        #expect(event.number("total_bytes") == 1_024_000_000)
        #expect(event.number("available_bytes") == 768_000_000)
        #expect(event.number("used_bytes") == 256_000_000)
        #expect(event.number("used_percent") == 25)
        #expect(event.number("cached_bytes") == 307_200_000)
        #expect(event.number("dirty_bytes") == 12_288)
        #expect(event.number("swap_total_bytes") == 51_200_000)
        #expect(event.number("swap_used_bytes") == 10_240_000)
        #expect(event.number("waiting_some_percent") == 1.25)
        #expect(event.number("waiting_full_percent") == 0.5)

        try proc.remove("proc/pressure")
        let without = try #require(try proc.sample().of("memory.sample").first)
        #expect(without.members["waiting_some_percent"] == nil)
    }

    private static let devHeading = """
        Inter-|   Receive                            |  Transmit
         face |bytes    packets errs drop and so on  |bytes    packets errs drop and so on

        """

    @Test("each interface that is up has its rates, one whose counters began anew has none, one that is down no event")
    func network() throws {
        let proc = try FakeProc()
        try proc.write(
            "proc/net/dev",
            Self.devHeading + """
                    lo:    3193      29    0    0 0 0 0 0     3193      29    0    0 0 0 0 0
                  eth0:1000000   1000    1    2 0 0 0 0   500000     500    3    4 0 0 0 0
                  down: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0

                """)
        try proc.write("sys/class/net/eth0/flags", "0x1003\n")
        try proc.write("sys/class/net/down/flags", "0x1002\n")
        try proc.write("sys/class/net/lo/flags", "0x9\n")
        try proc.write(
            "proc/net/sockstat", "sockets: used 17\nTCP: inuse 5 orphan 1 tw 2 alloc 6 mem 335\nUDP: inuse 0 mem 0\n")
        try proc.write("proc/net/sockstat6", "TCP6: inuse 3\nUDP6: inuse 1\n")
        let first = try proc.sample()
        #expect(first.of("network.sample").isEmpty)
        let tcp = try #require(first.of("tcp.sample").first)
        #expect(tcp.channel == "host/network")
        #expect(tcp.number("in_use") == 5)
        #expect(tcp.number("in_use_ipv6") == 3)
        #expect(tcp.number("orphaned") == 1)
        #expect(tcp.number("time_wait") == 2)

        try proc.write(
            "proc/net/dev",
            Self.devHeading + """
                    lo:       5       1    0    0 0 0 0 0     4193      30    0    0 0 0 0 0
                  eth0:1002000   1003    1    2 0 0 0 0   500100     501    3    4 0 0 0 0
                  down: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0
                  new0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0

                """)
        let events = try proc.sample(after: 2000).of("network.sample")
        #expect(events.map { $0.string("interface") } == ["lo", "eth0"])
        #expect(events.first?.number("rx_bytes_per_s") == 0)
        #expect(events.first?.number("tx_bytes_per_s") == 500)
        let ethernet = try #require(events.last)
        #expect(ethernet.number("rx_bytes_per_s") == 1000)
        #expect(ethernet.number("tx_bytes_per_s") == 50)
        #expect(ethernet.number("rx_packets_per_s") == 1.5)
        #expect(ethernet.number("tx_packets_per_s") == 0.5)
        #expect(ethernet.number("rx_errors") == 1)
        #expect(ethernet.number("rx_drops") == 2)
        #expect(ethernet.number("tx_errors") == 3)
        #expect(ethernet.number("tx_drops") == 4)
    }

    @Test("disks with hardware behind them have an event each, partitions and loop devices none")
    func disks() throws {
        let proc = try FakeProc()
        try proc.write(
            "proc/diskstats",
            "   7       0 loop0 9 0 9 0 9 0 9 0 0 9 9 0 0 0 0 0 0\n"
                + " 254       0 vda 100 5 2000 30 50 6 1000 40 0 500 70 1 0 8 0 2 1\n"
                + " 254       1 vda1 100 5 2000 30 50 6 1000 40 0 500 70\n")
        try proc.write("sys/block/vda/device/vendor", "0x1af4\n")
        let first = try proc.sample()
        #expect(first.of("disk.sample").isEmpty)
        let fileSystem = try #require(first.of("filesystem.sample").first)
        #expect(fileSystem.channel == "host/disk")
        #expect(fileSystem.string("path") == proc.folder.path)
        #expect(try #require(fileSystem.number("total_bytes")) >= (try #require(fileSystem.number("available_bytes"))))

        try proc.write(
            "proc/diskstats",
            "   7       0 loop0 19 0 19 0 19 0 19 0 0 19 19 0 0 0 0 0 0\n"
                + " 254       0 vda 110 5 2020 30 55 6 1004 40 0 1000 70 1 0 8 0 2 1\n"
                + " 254       1 vda1 110 5 2020 30 55 6 1004 40 0 1000 70\n")
        let events = try proc.sample(after: 1000).of("disk.sample")
        #expect(events.count == 1)
        let disk = try #require(events.first)
        #expect(disk.string("device") == "vda")
        #expect(disk.number("read_bytes_per_s") == 10_240)
        #expect(disk.number("write_bytes_per_s") == 2048)
        #expect(disk.number("reads_per_s") == 10)
        #expect(disk.number("writes_per_s") == 5)
        #expect(disk.number("busy_percent") == 50)
    }

    @Test("a second call in the same millisecond, or on a clock that went back, gives nothing")
    func noInterval() {
        var sampler = HostSampler()
        #expect(!sampler.sample(now: 5000).isEmpty)
        #expect(sampler.sample(now: 5000).isEmpty)
        #expect(sampler.sample(now: 4000).isEmpty)
        #expect(!sampler.sample(now: 6000).isEmpty)
    }

    @Test("whatever the files hold, nothing traps and what comes is JSON", arguments: 0..<200)
    func anyBytes(seed: Int) throws {
        var random = SeededBytes(seed: UInt64(seed))
        let proc = try FakeProc()
        let good = [
            "proc/stat": "cpu  1000 0 500 8000 100 0 0 0 0 0\ncpu0 500 0 250 4000 50 0 0 0\nctxt 10000\nprocesses 50\n",
            "proc/loadavg": "0.31 1.05 12.00 3/96 9793\n", "proc/uptime": "1000.00 1900.00\n",
            "proc/meminfo": "MemTotal:  1000000 kB\nMemAvailable: 750000 kB\nSwapTotal: 5 kB\nSwapFree: 4 kB\n",
            "proc/pressure/memory": "some avg10=1.25 avg60=0.40 avg300=0.10 total=123\n",
            "proc/net/dev": Self.devHeading + "  lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
            "proc/net/sockstat": "TCP: inuse 5 orphan 1 tw 2 alloc 6 mem 335\n",
            "proc/diskstats": " 254 0 vda 100 5 2000 30 50 6 1000 40 0 500 70 1 0 8 0 2 1\n",
        ]
        try proc.write("sys/block/vda/device/vendor", "x")
        for _ in 0..<4 {
            for (path, text) in good { try proc.write(path, bytes: random.mutated(Array(text.utf8))) }
            try proc.process(40, name: random.mutated(Array("a (b) c".utf8)), start: 100)
            try proc.write("proc/41/stat", bytes: random.mutated(Array("41 (x) S 1 1 1 0 -1 4194560 1 0 0".utf8)))
            _ = try proc.sample()
            try proc.remove("proc/40")
        }
    }

    @Test("this machine's own /proc gives every kind of sample that its files allow")
    func ownMachine() throws {
        var sampler = HostSampler()
        let first = try sampler.sample(now: 1000).map(FakeEvent.init)
        #expect(first.of("memory.sample").count == 1)
        #expect(first.of("filesystem.sample").count == 1)
        let summary = try #require(first.of("process.summary").first)
        #expect(try #require(summary.number("processes")) >= 1)
        #expect(first.of("process.started").isEmpty && first.of("process.ended").isEmpty)
        let second = try sampler.sample(now: 2000).map(FakeEvent.init)
        let processor = try #require(second.of("cpu.sample").first)
        #expect((0...100).contains(try #require(processor.number("usage_percent"))))
        #expect(try #require(processor.numbers("cores_percent")).count >= 1)
        let memory = try #require(second.of("memory.sample").first)
        #expect(try #require(memory.number("total_bytes")) > (try #require(memory.number("used_bytes"))))
    }
}

/// Changes, repeats, cuts and inserts bytes, the same way for the same seed.
struct SeededBytes {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    }

    mutating func below(_ bound: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state % UInt64(bound))
    }

    mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<below(6) where !bytes.isEmpty {
            let place = below(bytes.count)
            switch below(5) {
            case 0: bytes[place] = UInt8(below(256))
            case 1: bytes.removeSubrange(place...)
            case 2: bytes.insert(contentsOf: bytes[..<place], at: place)
            case 3: bytes.insert(contentsOf: Array("99999999999999999999999".utf8), at: place)
            default: bytes.remove(at: place)
            }
        }
        return bytes
    }
}
