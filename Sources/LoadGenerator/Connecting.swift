/// The connect phase: a bounded number at a time, so that no listener's backlog overflows.

import CLinux
import ClientSockets
import Glibc

extension LoadRun {
    /// Connections under way at once: listeners' backlogs hold 4,096 (somaxconn), many servers' only 511 or 128.
    var settlingMax: Int { plan.isStorm ? 1_024 : 128 }

    /// Routes take turns, so that all of them connect, and are served, side by side.
    func layOutReaders() {
        var left = plan.readers.map(\.count)
        var index = 0
        while index < readerCount {
            for route in left.indices where left[route] > 0 {
                left[route] -= 1
                readers[index].route = UInt8(route)
                readers[index].channel = UInt32(index % channels)
                index += 1
            }
        }
        layOutRoles()
    }

    /// The openings are made once: a storm is not to wait for text. `place` is a cursor to come back to.
    func prepareOpenings(from place: String? = nil) {
        openings = plan.readers.map { route, _ in
            var route = route
            route.from = place
            return (0..<channels).map { channel in
                var bytes: [UInt8] = []
                let name = plan.channels.isEmpty ? nil : plan.channels[channel]
                route.dialect.appendOpening(route, channel: name, to: &bytes)
                return bytes
            }
        }
    }

    /// Opens some more connections, unless too many have not had their stream yet.
    func connectSome() throws(LoadFailure) {
        var left = plan.isStorm ? settlingMax : Self.connectsPerTurn
        while nextToConnect < readerCount, readersSettling < settlingMax, left > 0 {
            left -= 1
            guard try connect(nextToConnect) else { return }
            nextToConnect += 1
        }
    }

    /// Opens one reader's connection; false where the server's backlog is full just now.
    func connect(_ index: Int) throws(LoadFailure) -> Bool {
        let route = plan.readers[Int(readers[index].route)].route
        let source = sourceAddress(of: connectionSerial, to: route.destination)
        let descriptor: Int32
        switch openConnection(to: route.destination, source: source) {
        case .connected(let opened), .inProgress(let opened): descriptor = opened
        case .tryLater: return false
        case .failed(let code): throw unreachable(route, code)
        }
        connectionSerial += 1
        readers[index].descriptor = descriptor
        readers[index].phase = .connecting
        readers[index].opening = OpeningState()
        readers[index].opening.hellosDue = UInt8(hellosDue(route))
        readers[index].endSeen = false
        readers[index].lastSlot = -1
        readers[index].gapMask = 0
        // A reader that joins later does not know what number comes next.
        let isFirst = stage == .connecting
        for publisher in 0..<publisherCount {
            expected[index * publisherCount + publisher] = isFirst ? readers[index].channel : Self.unknownNumber
        }
        readersSettling += 1
        readersLive += 1
        // On loopback the connection stands by now, and its opening can go at once; otherwise the socket says when.
        let isSaid = sayOpening(index)
        guard readers[index].isLive else { return true }
        watch(index, isSaid ? Self.input : EPOLLOUT.rawValue, EPOLL_CTL_ADD)
        return true
    }

    private func hellosDue(_ route: Route) -> Int {
        // A raw stream begins with a `$hello`, and has another where `$subscribe` replaces the subscription.
        route.hellos == 0 ? 0 : route.hellos + (plan.channels.isEmpty && plan.behind == 0 ? 0 : 1)
    }

    // Edges: what is ready level by level is looked at twice for each wake-up, a twentieth of this process's time.
    static let input = linux_epoll_input_events

    /// Changes what the epoll instance tells of a reader.
    func watch(_ index: Int, _ events: UInt32, _ operation: Int32) {
        _ = linux_epoll_control(epoll, operation, readers[index].descriptor, events, UInt64(index))
    }

    /// Whether the opening is out; false while the connection does not stand yet.
    private func sayOpening(_ index: Int) -> Bool {
        let words = openings[Int(readers[index].route)][Int(readers[index].channel)]
        let count = words.isEmpty ? 0 : linux_send(readers[index].descriptor, words, words.count)
        if count == -Int64(EAGAIN) || count == -Int64(ENOTCONN) { return false }
        if count < 0 {
            refuse(index, Int32(-count))
            return false
        }
        if count != Int64(words.count) {
            drop(index, "the request does not fit at once")
            return false
        }
        // A raw connection to TCP says nothing that would show whether it stands.
        readers[index].phase = .opening
        if words.isEmpty, readers[index].opening.hellosDue == 0 { stand(index) }
        return true
    }

    /// A connection under way stands, or has failed.
    func connected(_ index: Int) {
        let code = pendingError(readers[index].descriptor)
        guard code == 0 else { return refuse(index, code) }
        if sayOpening(index) { watch(index, Self.input, EPOLL_CTL_MOD) }
    }

    /// A connection has failed: a fault of a server that is there, the end of a run where none is.
    private func refuse(_ index: Int, _ code: Int32) {
        if streamsBegun == 0 {
            refusal = unreachable(plan.readers[Int(readers[index].route)].route, code)
            retire(index)
        } else {
            drop(index, "cannot connect: \(errorText(code))")
        }
    }

    func unreachable(_ route: Route, _ code: Int32) -> LoadFailure {
        let place = if case .unix(let path) = route.destination { path } else { route.host }
        return LoadFailure(.unavailable, "cannot connect to \(place): \(errorText(code)); is a server there?")
    }

    /// The stream stands: events are expected from here on.
    func stand(_ index: Int) {
        readers[index].phase = .streaming
        progressAt = nanoseconds()
        streamsBegun += 1
        readersSettling -= 1
        if stage == .connecting { readersStanding += 1 }
        if readers[index].role == .awaited || !measures.isMeasuring, readers[index].role != .churning {
            readers[index].isCounted = true
            if stage == .connecting, plan.behind > 0 { outstanding += pending(index) }
            awaitedByChannel[Int(readers[index].channel)] += 1
        }
    }
}
