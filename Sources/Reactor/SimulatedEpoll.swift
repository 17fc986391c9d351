/// The epoll instance of a simulated process: what is watched, and what waits to be reported.

import CLinux
import Glibc

/// What epoll_create(2) makes. Edge-triggered like Linux: a descriptor is put on the list when something happens to it
/// that it is watched for, or when its interest is set; the wait looks at the state it is in by then, reports that, and
/// takes it off the list. So an event may say more than what put it there, and what happened before the wait but was
/// used up meanwhile is not reported at all.
struct SimulatedEpoll {
    /// What has happened to a descriptor so far. While two of these are equal, nothing happened in between.
    struct Happenings: Equatable {
        /// Bytes or connections that ever came, and ends of whatever kind.
        var input = 0
        /// Bytes that the peer ever read.
        var output = 0
    }

    /// A descriptor that is watched.
    struct Interest {
        var events: UInt32
        let data: UInt64
        var seen: Happenings
        /// On the list, and not to be reported before this time; nil: not on the list.
        var listedFrom: UInt64?
        /// True exactly when its one event was reported (`EPOLLONESHOT`): it is silent until its interest is set anew.
        var isSpent = false

        var isEdgeTriggered: Bool { events & linux_epoll_edges != 0 }
    }

    /// An event to come for a descriptor that was closed.
    struct Stale {
        let descriptor: Int32
        let data: UInt64
    }

    /// The descriptors of signals and wake-ups, and the first one of epoll itself: not among those that tests count,
    /// and far beyond them. A simulated wake-up channel has no descriptor, so this one stands for it.
    static let wakeupDescriptor: Int32 = 1 << 30
    static let signalDescriptor: Int32 = wakeupDescriptor + 1
    static let firstDescriptor: Int32 = wakeupDescriptor + 2

    let descriptor: Int32
    /// By descriptor.
    var interests: [Interest?] = []
    /// What the events of the two other sources carry, once they are watched. Both are level-triggered.
    var wakeupData: UInt64?
    var signalData: UInt64?
    var pendingSignals: [Int32] = []
    var stale: [Stale] = []
    /// Calls on sockets since the last wait.
    var callsSinceWait = 0
    /// What was given to send calls since the last wait. Their completions come after it, so until then the bytes must
    /// not change.
    var sent: [SimulatedDescriptor.Send] = []
    /// Where the last receive put its bytes; they are lent until the next one, or until the wait.
    var lent = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    init(descriptor: Int32) { self.descriptor = descriptor }

    subscript(number: Int32) -> Interest? {
        get { interests.indices.contains(Int(number)) ? interests[Int(number)] : nil }
        set {
            while interests.count <= Int(number) { interests.append(nil) }
            interests[Int(number)] = newValue
        }
    }

    /// What was held back is due now, and nothing stale comes any more.
    mutating func hurryEvents() {
        for index in interests.indices where interests[index]?.listedFrom != nil { interests[index]?.listedFrom = 0 }
        stale.removeAll()
    }

    /// Whoever still reads bytes that were lent reads nonsense from now on.
    mutating func poisonLent() {
        if let start = lent.baseAddress { memset(start, Int32(SimulatedReceiveBuffers.poison), lent.count) }
        lent = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }
}

// MARK: - The state of a descriptor

extension SimulatedDescriptor {
    /// What poll(2) says of it, errors and ends included.
    var pollEvents: UInt32 {
        switch kind {
        case .listener(let listener):
            return listener.queue.isEmpty ? 0 : EPOLLIN.rawValue
        case .source(let connection):
            var events: UInt32 = 0
            if connection.toServer.count > 0 { events |= EPOLLIN.rawValue }
            if connection.peerFinished { events |= EPOLLHUP.rawValue }
            return events
        case .connection(let connection):
            return connection.pollEvents
        }
    }

    var happenings: SimulatedEpoll.Happenings {
        switch kind {
        case .listener(let listener):
            return SimulatedEpoll.Happenings(input: listener.arrivals)
        case .connection(let connection), .source(let connection):
            return SimulatedEpoll.Happenings(
                input: connection.toServer.bytesWritten + connection.endsSeen, output: connection.toPeer.bytesRead)
        }
    }
}

extension SimulatedConnection {
    /// How many of the ends that a connection can come to it has come to: only ever rises.
    fileprivate var endsSeen: Int {
        (peerFinished ? 1 : 0) + (peerClosed ? 1 : 0) + (serverStoppedReading ? 1 : 0) + (serverFinished ? 1 : 0)
            + (errorForServer != 0 ? 1 : 0)
    }

    /// True exactly when a receive finds something: bytes, the end, or an error.
    var isReadable: Bool {
        toServer.count > 0 || peerFinished || serverStoppedReading || errorForServer != 0
    }

    /// True exactly when epoll calls it writable. That takes more room than a send does: a third of the buffer on TCP
    /// (sk_stream_is_writeable), three quarters on unix sockets (unix_writable), unless the test says otherwise.
    private var isWritable: Bool {
        if serverFinished || peerClosed || errorForServer != 0 { return true }
        if isWritableWithAnyRoom { return toPeer.room > 0 }
        return isUnix ? toPeer.room * 4 >= toPeer.capacity * 3 : toPeer.room * 3 >= toPeer.capacity
    }

    /// As tcp_poll and unix_poll have it.
    fileprivate var pollEvents: UInt32 {
        var events: UInt32 = 0
        let hasEnded = peerFinished || serverStoppedReading || errorForServer != 0
        if isReadable { events |= EPOLLIN.rawValue }
        if hasUrgentByte { events |= EPOLLPRI.rawValue }
        if hasEnded { events |= EPOLLRDHUP.rawValue }
        if errorForServer != 0 { events |= EPOLLERR.rawValue | EPOLLHUP.rawValue }
        if hasEnded && serverFinished || isUnix && peerClosed { events |= EPOLLHUP.rawValue }
        if isWritable { events |= EPOLLOUT.rawValue }
        return events
    }
}
