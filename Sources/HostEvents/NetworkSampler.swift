/// `network.sample` for each interface that is up, and `tcp.sample`, on `host/network`.

/// Keeps the counters of `/proc/net/dev` (proc_pid_net(5)) between two readings.
struct NetworkSampler: Sendable {
    private struct Counters {
        var bytes: UInt64 = 0
        var packets: UInt64 = 0
        var errors: UInt64 = 0
        var drops: UInt64 = 0

        /// One direction's eight columns: bytes, packets, errors, drops, and four more.
        init(_ cursor: inout TextCursor, _ text: Span<UInt8>) {
            bytes = cursor.number(text) ?? 0
            packets = cursor.number(text) ?? 0
            errors = cursor.number(text) ?? 0
            drops = cursor.number(text) ?? 0
            cursor.skip(4, text)
        }
    }

    private struct Interface {
        let name: [UInt8]
        let received: Counters
        let sent: Counters
    }

    private let sys: String
    private var before: [[UInt8]: Interface] = [:]

    init(sys: String) {
        self.sys = sys
    }

    mutating func sample(
        _ proc: String, _ text: inout KernelText, over milliseconds: UInt64?, into events: inout [HostEvent]
    ) {
        if text.load("\(proc)/net/dev") {
            let present = Self.interfaces(text.bytes.span.extracting(0..<text.count))
            if let milliseconds {
                for interface in present {
                    guard let last = before[interface.name], isUp(interface.name, &text) else { continue }
                    events.append(Self.event(interface, since: last, over: milliseconds))
                }
            }
            before = Dictionary(present.map { ($0.name, $0) }) { _, second in second }
        }
        sampleTCP(proc, &text, into: &events)
    }

    /// Two lines of headings, then `  eth0: 123 …`. A name has no colon, slash or blank (dev_valid_name in the kernel).
    private static func interfaces(_ text: Span<UInt8>) -> [Interface] {
        var found: [Interface] = []
        var cursor = TextCursor()
        repeat {
            guard let word = cursor.word(text), let colon = word.first(where: { text[$0] == UInt8(ascii: ":") }) else {
                continue
            }
            cursor.position = colon + 1
            let name = copy(text, word.lowerBound..<colon)
            found.append(Interface(name: name, received: Counters(&cursor, text), sent: Counters(&cursor, text)))
        } while cursor.nextLine(text)
        return found
    }

    /// The interface's flags, such as `0x1003`, have IFF_UP in their last bit. Where sysfs is not there to be asked,
    /// every interface counts.
    private func isUp(_ name: [UInt8], _ text: inout KernelText) -> Bool {
        guard text.load("\(sys)/class/net/\(String(decoding: name, as: UTF8.self))/flags") else { return true }
        let bytes = text.bytes.span.extracting(0..<text.count)
        var cursor = TextCursor()
        guard let flags = cursor.word(bytes), let last = flags.last else { return true }
        let digit = bytes[last]
        let letters = UInt8(ascii: "a")...UInt8(ascii: "f")
        return (letters.contains(digit) ? digit &- letters.lowerBound : digit) & 1 == 1
    }

    private static func event(_ now: Interface, since last: Interface, over milliseconds: UInt64) -> HostEvent {
        func rate(_ counter: (Interface) -> UInt64) -> Double {
            perSecond(counter(now), since: counter(last), over: milliseconds)
        }
        var event = EventText("host/network", "network.sample")
        event.add("interface", text: now.name)
        event.add("rx_bytes_per_s", wholeNumber(rate(\.received.bytes)))
        event.add("tx_bytes_per_s", wholeNumber(rate(\.sent.bytes)))
        event.add("rx_packets_per_s", tenths: rate(\.received.packets))
        event.add("tx_packets_per_s", tenths: rate(\.sent.packets))
        event.add("rx_errors", now.received.errors)
        event.add("tx_errors", now.sent.errors)
        event.add("rx_drops", now.received.drops)
        event.add("tx_drops", now.sent.drops)
        return event.finished()
    }

    /// `/proc/net/sockstat`: `TCP: inuse 1 orphan 0 tw 2 alloc 1 mem 335`, and `TCP6: inuse 1` in `sockstat6`.
    private func sampleTCP(_ proc: String, _ text: inout KernelText, into events: inout [HostEvent]) {
        var counts: (inUse: UInt64, orphaned: UInt64, waiting: UInt64)?
        if text.load("\(proc)/net/sockstat") {
            let bytes = text.bytes.span.extracting(0..<text.count)
            var cursor = TextCursor()
            repeat {
                guard cursor.take("TCP: inuse ", bytes) else { continue }
                let inUse = cursor.number(bytes) ?? 0
                cursor.skip(1, bytes)
                let orphaned = cursor.number(bytes) ?? 0
                cursor.skip(1, bytes)
                counts = (inUse, orphaned, cursor.number(bytes) ?? 0)
            } while cursor.nextLine(bytes)
        }
        guard let counts else { return }
        var event = EventText("host/network", "tcp.sample")
        event.add("in_use", counts.inUse)
        if text.load("\(proc)/net/sockstat6") {
            let bytes = text.bytes.span.extracting(0..<text.count)
            var cursor = TextCursor()
            repeat {
                if cursor.take("TCP6: inuse ", bytes) { event.add("in_use_ipv6", cursor.number(bytes) ?? 0) }
            } while cursor.nextLine(bytes)
        }
        event.add("orphaned", counts.orphaned)
        event.add("time_wait", counts.waiting)
        events.append(event.finished())
    }
}
