/// What the epoll calls do in the simulated kernel.

import CLinux
import Glibc

extension SimulatedKernel {
    /// True exactly when the loop uses the epoll calls.
    package var hasEpoll: Bool { epoll != nil }

    /// epoll_create1(2): a new loop begins with this, so what an earlier one left behind is its process's, which is
    /// gone.
    func epollCreate() -> Int32 {
        if wakeupChannel != nil { endProcess() }
        let descriptor = epollDescriptorNext
        epollDescriptorNext += 1
        epoll = SimulatedEpoll(descriptor: descriptor)
        return descriptor
    }

    // MARK: Interests

    /// epoll_ctl(2). Adding may fail for want of memory or watches; the others cannot.
    func epollControl(
        _ number: Int32, _ operation: Int32, _ descriptor: Int32, _ events: UInt32, _ data: UInt64
    ) -> Int32 {
        guard epoll?.descriptor == number else {
            violation("epoll_ctl on \(number), which is no epoll of this process")
            return -EBADF
        }
        switch descriptor {
        case SimulatedEpoll.wakeupDescriptor: epoll?.wakeupData = data
        case SimulatedEpoll.signalDescriptor: epoll?.signalData = data
        default: return setInterest(operation, descriptor, events, data)
        }
        return 0
    }

    private func setInterest(
        _ operation: Int32, _ descriptor: Int32, _ events: UInt32, _ data: UInt64
    ) -> Int32 {
        guard let open = open(descriptor, "changed the interest in") else { return -EBADF }
        let isWatched = epoll?[descriptor] != nil
        if isWatched == (operation == EPOLL_CTL_ADD) {
            violation("descriptor \(descriptor) is \(isWatched ? "already" : "not") in epoll")
            return isWatched ? -EEXIST : -ENOENT
        }
        if operation == EPOLL_CTL_DEL {
            epoll?[descriptor] = nil
            return 0
        }
        if operation == EPOLL_CTL_ADD {
            if case .listener = open.kind {
            } else if open.connection?.isSpared != true, occurs(.attachRefused) {
                return random.chance(0.5) ? -ENOMEM : -ENOSPC
            }
        }
        var interest = SimulatedEpoll.Interest(events: events, data: data, seen: open.happenings)
        // Setting it looks at the state: who is ready by then is reported although nothing happens any more.
        if open.pollEvents & interest.reported != 0 { interest.listedFrom = now }
        epoll?[descriptor] = interest
        return 0
    }

    /// Closing takes a descriptor out of epoll, but an event for it may be under way.
    func forgetInterest(_ descriptor: Int32, _ open: SimulatedDescriptor) {
        guard let interest = epoll?[descriptor] else { return }
        if case .source = open.kind {
            violation("descriptor \(descriptor) was closed and is still in epoll, where others hold it")
        }
        epoll?[descriptor] = nil
        if random.chance(faults[.staleEvent]) {
            epoll?.stale.append(SimulatedEpoll.Stale(descriptor: descriptor, data: interest.data))
        }
    }

    /// Puts a descriptor on the list without anything happening to it: for what a fault held back.
    func owe(_ descriptor: Int32) {
        if epoll?[descriptor]?.listedFrom == nil { epoll?[descriptor]?.listedFrom = now }
    }

    // MARK: Looking

    /// Puts every descriptor on the list to which something has happened that it is watched for.
    private func listWhatHappened() {
        guard let watched = epoll?.interests.indices else { return }
        for index in watched {
            guard let interest = epoll?.interests[index], let open = descriptors[index] else { continue }
            guard interest.isAwakened(by: open.happenings) else { continue }
            epoll?.interests[index]?.seen = open.happenings
            if interest.listedFrom == nil {
                let extra = interest.isEdgeTriggered && occurs(.delayedCompletion) ? delay() : 0
                epoll?.interests[index]?.listedFrom = now + extra
            }
        }
    }

    /// True exactly when a wait would report something now.
    var hasDueEvent: Bool {
        guard let epoll else { return false }
        if wakeupChannel?.isSignalled == true || !epoll.pendingSignals.isEmpty { return true }
        for (index, interest) in epoll.interests.enumerated() {
            guard let interest, let open = descriptors[index], !interest.isSpent else { continue }
            guard open.pollEvents & interest.reported != 0 else { continue }
            if !interest.isEdgeTriggered || interest.isAwakened(by: open.happenings) { return true }
            if let from = interest.listedFrom, from <= now { return true }
        }
        return false
    }

    private func open(_ number: Int32) -> SimulatedDescriptor? {
        descriptors.indices.contains(Int(number)) ? descriptors[Int(number)] : nil
    }

    // MARK: Waiting

    /// epoll_wait(2). When there is nothing and the caller would wait, the clock moves to what comes next, at most by
    /// the timeout.
    func epollWait(
        _ number: Int32, _ into: UnsafeMutablePointer<epoll_event>, _ capacity: Int32, _ timeoutMilliseconds: Int32
    ) -> Int32 {
        guard epoll?.descriptor == number else {
            violation("epoll_wait on \(number), which is no epoll of this process")
            return -EBADF
        }
        stats.enters += 1
        let wasIdle = epoll?.callsSinceWait == 0
        endTurn()
        if timeoutMilliseconds != 0 {
            loopDeadline = timeoutMilliseconds > 0 ? now &+ UInt64(timeoutMilliseconds) : nil
        }
        moveClocksAtRandom()
        var count: Int32 = 0
        if occurs(.interruptedTurn) {
            count = -EINTR
        } else {
            var events = dueEvents()
            if timeoutMilliseconds != 0 && events.isEmpty {
                sleep()
                events = dueEvents()
            }
            count = report(&events, into, capacity)
        }
        lastTurnWasEmpty = wasIdle && count <= 0
        if let deadline = loopDeadline, deadline <= now { loopDeadline = nil }  // the loop takes that timer now
        return count
    }

    /// What the loop must have kept to until now, and may let go of.
    private func endTurn() {
        guard let sent = epoll?.sent else { return }
        for send in sent { checkUnchanged(send, Int32(truncatingIfNeeded: send.token.rawValue)) }
        epoll?.sent.removeAll()
        epoll?.poisonLent()
        epoll?.callsSinceWait = 0
    }

    /// An event that could be reported, and where it comes from.
    private struct Event {
        enum Origin { case interest(Int32), other, stale(Int), spurious }
        var origin: Origin
        var events: UInt32
        var data: UInt64
    }

    private func dueEvents() -> [Event] {
        listWhatHappened()
        guard let epoll else { return [] }
        var events: [Event] = []
        if let data = epoll.wakeupData, wakeupChannel?.isSignalled == true {
            events.append(Event(origin: .other, events: EPOLLIN.rawValue, data: data))
        }
        if let data = epoll.signalData, !epoll.pendingSignals.isEmpty {
            events.append(Event(origin: .other, events: EPOLLIN.rawValue, data: data))
        }
        for (index, interest) in epoll.interests.enumerated() {
            guard let interest, let open = descriptors[index], !interest.isSpent else { continue }
            let state = open.pollEvents & interest.reported
            if interest.isEdgeTriggered {
                guard let from = interest.listedFrom, from <= now else { continue }
                // Nothing to report any more: off the list.
                if state == 0 { self.epoll?.interests[index]?.listedFrom = nil }
            }
            if state == 0 { continue }
            events.append(Event(origin: .interest(Int32(index)), events: state, data: interest.data))
        }
        // Once the number is in use again, and not before its new owner has had time to begin something.
        for (place, stale) in epoll.stale.enumerated() where open(stale.descriptor) != nil && random.chance(0.1) {
            let any = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue
            events.append(Event(origin: .stale(place), events: any, data: stale.data))
        }
        if let spurious = spuriousEvent() { events.append(spurious) }
        return events
    }

    /// An event for a socket with nothing behind it: what it told of was taken meanwhile. Only where a call cannot
    /// make anybody wait, which a read of a source that is not nonblocking would.
    private func spuriousEvent() -> Event? {
        guard let epoll else { return nil }
        let sockets = epoll.interests.indices.filter { epoll.interests[$0]?.isEdgeTriggered == true }
        guard !sockets.isEmpty, occurs(.spuriousWake) else { return nil }
        guard let interest = epoll.interests[random.pick(sockets)] else { return nil }
        return Event(
            origin: .spurious, events: (EPOLLIN.rawValue | EPOLLOUT.rawValue) & interest.reported,
            data: interest.data)
    }

    /// Reports as many as fit, in seeded order; the others stay on the list.
    private func report(
        _ events: inout [Event], _ into: UnsafeMutablePointer<epoll_event>, _ capacity: Int32
    ) -> Int32 {
        guard !events.isEmpty else { return 0 }
        random.shuffle(&events)
        var eventsMax = Int(capacity)
        if occurs(.smallBatch) { eventsMax = min(eventsMax, random.within(1...8)) }
        if events.count > 1, occurs(.oneEventPerWait) { eventsMax = 1 }
        var count: Int32 = 0
        var staleReported: [Int] = []
        for event in events.prefix(eventsMax) {
            var state = event.events
            switch event.origin {
            case .interest(let descriptor):
                if state & EPOLLIN.rawValue != 0, epoll?[descriptor]?.isEdgeTriggered == true {
                    if occurs(.hangUpWithInput) { state |= EPOLLHUP.rawValue | EPOLLRDHUP.rawValue }
                    if state & EPOLLHUP.rawValue != 0 { trace.hangUpsWithInput += 1 }
                }
                epoll?[descriptor]?.listedFrom = nil
                if let events = epoll?[descriptor]?.events, events & linux_epoll_once != 0 {
                    epoll?[descriptor]?.isSpent = true
                }
            case .stale(let place):
                staleReported.append(place)
                trace.note(.staleEvent)
            case .other, .spurious:
                break
            }
            trace.mix(event.data ^ UInt64(state) << 32)
            linux_epoll_report(into, count, state, event.data)
            count += 1
        }
        for place in staleReported.sorted(by: >) { epoll?.stale.remove(at: place) }
        return count
    }
}

extension SimulatedEpoll.Interest {
    /// What is reported of it: what it is watched for, and ends and errors always.
    var reported: UInt32 { events & ~(linux_epoll_edges | linux_epoll_once) | EPOLLHUP.rawValue | EPOLLERR.rawValue }

    /// Whether what has happened since puts it on the list.
    func isAwakened(by happenings: SimulatedEpoll.Happenings) -> Bool {
        happenings.input != seen.input || (happenings.output != seen.output && events & EPOLLOUT.rawValue != 0)
    }
}
