/// How long the kernel waits for a TCP peer that acknowledges nothing or has no room before it gives it up.

extension Engine {
    /// `TCP_USER_TIMEOUT` for the connections of a listener: long enough that the server has decided about a laggard,
    /// and `$bye` has waited as long as it does, before the kernel gives up. It ends readers of which the server knows
    /// nothing, because all that they have not taken is in the kernel. 0 leaves the kernel its own patience.
    func userTimeoutMilliseconds(at listener: ListenerName) -> Int {
        guard listener.isTCP else { return 0 }
        let milliseconds =
            hub.ageMillisecondsMax(at: listener) + Int(Limits.byeMilliseconds) + Limits.kernelSpareMilliseconds
        return milliseconds < Limits.kernelPatienceMilliseconds ? milliseconds : 0
    }

    /// Fits the kernel's patience to what the subscriber asked for: unless it is closed when it falls behind it may
    /// stay stopped for as long as its host answers, and gets its one `$gap` when it goes on. One system call where
    /// that changes.
    func updateKernelPatience(_ slot: UInt32) {
        let group = delivery.connections[slot].group
        guard group != Connection.none else { return }
        setKernelPatience(slot, isEndless: hub.subscriptions[group].onLag != .close)
    }

    /// Says whether the kernel waits for a subscriber until its host does not answer any more, or as long as its
    /// listener's connections are waited for. Once `$bye` is queued it does the former: the server's own deadline ends
    /// such a connection, while the kernel may have counted from before.
    func setKernelPatience(_ slot: UInt32, isEndless: Bool) {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.listener.isTCP, connection.pointee.flags.contains(.kernelIsPatient) != isEndless
        else { return }
        if isEndless {
            connection.pointee.flags.insert(.kernelIsPatient)
        } else {
            connection.pointee.flags.remove(.kernelIsPatient)
        }
        loop.setUserTimeout(
            delivery.connections.socket(slot),
            milliseconds: isEndless ? 0 : userTimeoutMilliseconds(at: connection.pointee.listener))
    }
}
