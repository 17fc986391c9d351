// A hub without sockets, and who should get what by the plainest of means.
import Testing

@testable import FanoutServer
@testable import Reactor
@testable import Wire

/// A hub whose subscribers are records only: what was queued for one is looked at and thrown away.
final class HubModel {
    /// A subscriber, and what it should have got.
    struct Reader {
        var patterns: [String]
        var types: [String]
        var transport: Transport
        var expected: [UInt64] = []
    }

    let delivery: Delivery
    let hub: Hub
    private(set) var readers: [UInt32: Reader] = [:]
    private(set) var channelNames: [String] = []

    init(
        _ configure: (inout Configuration) -> Void = { _ in }, slots: Int = 1024,
        segmentBytes: Int = SegmentStore.segmentBytes, historyBytes: Int = 0
    ) throws {
        var loopConfiguration = LoopConfiguration()
        loopConfiguration.backend = .simulated(SimulatedKernel(seed: 1))
        loopConfiguration.socketsMax = slots
        var configuration = Configuration()
        configure(&configuration)
        delivery = Delivery(loop: try EventLoop(loopConfiguration), segmentBytes: segmentBytes)
        hub = try Hub(
            delivery: delivery, epoch: SimulatedServer.epoch, configuration: configuration, historyBytes: historyBytes)
    }

    func attach(_ slot: UInt32, _ patterns: [String], types: [String] = [], _ transport: Transport) throws {
        delivery.connections.open(SocketID(slot: slot, generation: 1), phase: .subscriber, transport: transport)
        var subscription = Subscription()
        for pattern in patterns { subscription.patterns.append(try #require(ChannelPattern(pattern))) }
        subscription.types = types.map { Array($0.utf8) }
        hub.attach(slot, subscription)
        readers[slot] = Reader(patterns: patterns, types: types, transport: transport)
    }

    func detach(_ slot: UInt32) {
        hub.detach(slot)
        hub.detach(slot)
        _ = takeBytes(slot)
        delivery.connections.free(slot)
        readers[slot] = nil
    }

    @discardableResult
    func publish(_ event: String, kind: String?, on channel: String) throws -> Hub.Receipt {
        let name = try #require(ChannelName(channel))
        let index = try #require(hub.channel(name))
        if !channelNames.contains(channel) { channelNames.append(channel) }
        let bytes = Array(event.utf8)
        try hub.stage(bytes.span, rules: hub.channels[index].rules)
        let receipt = hub.publishStaged(on: index)
        for slot in readers.keys where Self.wants(readers[slot]!, channel, kind) {
            readers[slot]!.expected.append(receipt.last)
        }
        return receipt
    }

    /// Stages events for the standard channel and publishes them in one go. What readers should get is not noted.
    func publishTogether(_ events: [String]) throws -> Hub.Receipt {
        let index = try #require(hub.channel(.standard))
        for event in events {
            let bytes = Array(event.utf8)
            try hub.stage(bytes.span, for: index)
        }
        return hub.publishStaged(on: index)
    }

    /// Whether a subscriber should get it: written from DESIGN section 12, with nothing of the server's.
    static func wants(_ reader: Reader, _ channel: String, _ kind: String?) -> Bool {
        if !reader.types.isEmpty {
            guard let kind, reader.types.contains(kind) else { return false }
        }
        return reader.patterns.isEmpty
            || reader.patterns.contains { matches($0.split(separator: "/"), channel.split(separator: "/")) }
    }

    private static func matches(_ pattern: [Substring], _ name: [Substring]) -> Bool {
        guard let first = pattern.first else { return name.isEmpty }
        if first == "**" { return !name.isEmpty }
        guard let segment = name.first, first == "*" || first == segment else { return false }
        return matches(Array(pattern.dropFirst()), Array(name.dropFirst()))
    }

    /// What was queued for a slot.
    func takeBytes(_ slot: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        let connection = delivery.connections.records + Int(slot)
        connection.pointee.ring.drain(blocks: &delivery.blocks) { run in
            let base = delivery.log.segments[run.segment].base + Int(run.start)
            bytes += UnsafeBufferPointer(start: base, count: Int(run.count))
            delivery.log.segments.release(run.segment)
        }
        connection.pointee.pendingEvents = 0
        delivery.queue.remove(slot, in: delivery.connections.records)
        return bytes
    }

    /// The numbers of the events queued for a slot.
    func takeSeqs(_ slot: UInt32) -> [UInt64] {
        let bytes = takeBytes(slot)
        let records: [Record] =
            switch readers[slot]!.transport {
            case .sse: StreamReader.events(String(decoding: bytes, as: UTF8.self)).records
            case .webSocket:
                ServerFrame.all(bytes).compactMap { frame in
                    JSONObject(frame.text).map { Record(object: $0, text: frame.text) }
                }
            default: StreamReader.lines(bytes)
            }
        return records.compactMap { $0.seq.map(UInt64.init) }
    }

    /// Compares every subscriber with the model and forgets what it got. Says the first thing that was wrong.
    func checkReaders() -> String? {
        for slot in readers.keys.sorted() {
            let got = takeSeqs(slot)
            if got != readers[slot]!.expected { return "\(slot) \(readers[slot]!) got \(got)" }
            readers[slot]!.expected = []
        }
        return nil
    }

    /// Looks at the structure: places in lists, groups on channels exactly once. Says the first thing that was wrong.
    func checkStructure() -> String? {
        var live: Set<UInt32> = []
        for slot in readers.keys {
            let connection = delivery.connections[slot]
            live.insert(connection.group)
            let members = hub.subscriptions[connection.group].members[Int(connection.transport.format.rawValue)]
            if Int(connection.member) >= members.count || members[Int(connection.member)] != slot {
                return "\(slot) is not where it thinks"
            }
        }
        let total = live.reduce(0) { $0 + hub.subscriptions[$1].memberCount }
        if total != readers.count { return "\(total) members, \(readers.count) subscribers" }
        for index in 0..<UInt32(hub.channels.count) {
            let channel = hub.channels[index]
            let list = hub.groups(of: index)
            let groups = (0..<list.count).map { list[$0] }
            if Set(groups).count != groups.count { return "\(channel.name) has a group twice: \(groups)" }
            let expected = live.filter { group in
                hub.subscriptions[group].patternsOrEverything.contains { $0.matches(channel.name) }
            }
            if Set(groups) != expected { return "\(channel.name) has groups \(groups), not \(expected)" }
            let readers = readers.values.count {
                Self.wants(
                    Reader(patterns: $0.patterns, types: [], transport: .sse),
                    channel.name.description, nil)
            }
            if hub.subscriberCount(of: index) != readers { return "\(channel.name) counts its readers wrongly" }
        }
        return nil
    }
}
