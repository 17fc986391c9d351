/// Who comes to a world, and when.

import Reactor

@testable import FanoutServer

extension World {
    func spawn() {
        if readers.count(where: { !$0.isGone }) < plan.readersMax, random.chance(0.2) { spawnReader() }
        if publishers.count(where: { !$0.isGone }) < plan.publishersMax, random.chance(0.4) { spawnPublisher() }
        if plan.hasVandals, vandals.count(where: { !$0.isGone }) < 2, random.chance(0.05) {
            let address = random.pick([
                Self.http, Self.jsonl, Self.unix("http.socket"), Self.unix("events.socket"), Self.unix("ingest.socket"),
            ])
            guard let peer = connect(to: address) else { return }
            readersEver += 1
            vandals.append(
                Vandal(self, peer, number: vandals.count + 1, isAtIngest: address == Self.unix("ingest.socket")))
        }
    }

    /// Those who come for the server's rules and not for its events.
    func spawnGuests() {
        if plan.hasProbers, probers.count(where: { !$0.isGone }) < 2, random.chance(0.1) {
            guard let peer = connect(to: Self.http) else { return }
            readersEver += 1
            probers.append(Prober(self, peer, number: probers.count + 1))
        }
        if plan.hasKeeper, keeper == nil, random.chance(0.1) {
            guard let peer = connect(to: Self.http) else { return }
            keeper = ChannelKeeper(self, peer)
        }
    }

    /// Everyone but the auditor comes from one of three addresses or is one of three users.
    private func connect(to address: SocketAddress) -> SimulatedPeer? {
        let who = UInt32(readersEver + UInt64(publishers.count)) % 3
        let identity: PeerIdentity =
            switch address {
            case .unix: .process(Int32(readersEver), user: who == 2 ? 65_534 : 1000 + who)
            case .ipv4, .ipv6:
                .address(
                    who == 0
                        ? .ipv6(.init(high: 0x2001_0DB8 << 32, low: readersEver), port: 1)
                        : .ipv4(0xC000_0200 + who, port: UInt16(truncatingIfNeeded: readersEver)))
            }
        return kernel.connect(to: address, from: identity)
    }

    private func drawPace() -> Pace {
        switch random.below(10) {
        case 0..<4: .eager
        case 4..<7: .slow
        case 7: .crawling
        default: .stalled
        }
    }

    private func spawnReader() {
        if random.chance(0.6), let gone = readers.last(where: { $0.comeback != nil }) { return comeBack(gone) }
        let transport = random.pick(Reader.Transport.allCases)
        let address: SocketAddress =
            switch transport {
            case .unix: Self.unix("events.socket")
            case .tcp: Self.jsonl
            default: random.chance(0.7) ? Self.http : Self.unix("http.socket")
            }
        var wanted: [Wanted]
        if transport == .unix || transport == .tcp {
            wanted = [.everything]
            if random.chance(0.6) { wanted.append(.drawn(&random, head: head, first: held.oldest)) }
        } else {
            wanted = [.drawn(&random, head: head, first: held.oldest)]
            if transport == .webSocket, wanted[0].hasControl, random.chance(0.3) {
                wanted.append(.drawn(&random, head: head, first: held.oldest))
            }
        }
        // Few would come for the channel that ends, and only who wants nothing else is ended with it.
        let isRaw = transport == .unix || transport == .tcp
        if plan.hasKeeper, wanted.count > 1 || !isRaw, random.chance(0.2) {
            wanted[wanted.count - 1].patterns = [Channels.mortalChannel]
        }
        if !isRaw, wanted[0].start == .unknownEpoch, random.chance(0.4) {
            wanted[0].start = .garbage
        }
        _ = spawnReader(transport, wanted, at: address)
    }

    /// Somebody goes on where a reader that is gone has stopped: in the same way, but at its own pace.
    private func comeBack(_ gone: Reader) {
        guard var wanted = gone.comeback, let address = gone.address else { return }
        let isRaw = gone.transport == .unix || gone.transport == .tcp
        if isRaw, wanted.start == .garbage { wanted.start = .unknownEpoch }
        guard spawnReader(gone.transport, isRaw ? [.everything, wanted] : [wanted], at: address) else { return }
        gone.hasComeBack = true
        sightings.comebacks += 1
    }

    private func spawnReader(_ transport: Reader.Transport, _ wanted: [Wanted], at address: SocketAddress) -> Bool {
        let pace = drawPace()
        if pace != .eager, let bytes = plan.crampedPipeBytes { kernel.limits.pipeBytes = bytes }
        defer { kernel.limits.pipeBytes = plan.kernelLimits.pipeBytes }
        guard let peer = connect(to: address) else { return false }
        readersEver += 1
        let reader = Reader(self, peer, transport, wanted, number: readers.count + 1, pace: pace)
        reader.isUnix = Self.isUnix(address)
        reader.address = address
        readers.append(reader)
        return true
    }

    func spawnPublisher(pace: Pace? = nil, items: Int? = nil) {
        let way: Publisher.Way
        let address: SocketAddress
        switch random.below(6) {
        case 0...2:
            way = .http
            address = random.chance(0.7) ? Self.http : Self.unix("http.socket")
        case 3:
            way = .ingest(channel: 1, fixed: true, acks: random.chance(0.6))
            address = Self.unix("ingest/a.socket")
        default:
            way = .ingest(channel: 0, fixed: false, acks: random.chance(0.6))
            address = Self.unix("ingest.socket")
        }
        guard let peer = connect(to: address) else { return }
        let publisher = Publisher(
            self, peer, way, number: publishers.count + 1, pace: pace ?? (plan.isFlooded ? .eager : drawPace()),
            items: items ?? 1 + random.below(plan.itemsPerPublisher))
        publisher.isUnix = Self.isUnix(address)
        publishers.append(publisher)
    }
}
