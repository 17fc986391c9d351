/// One event on a connection of its own, for programs that must not mind whether anybody hears it.

extension EventEmitter {
    /// Connects, publishes one event and closes. Fails silently: a server that is absent, stopped or full costs the
    /// caller nothing but the time that it allows, and raises no error and no signal.
    ///
    /// On a unix socket without a channel or key the event is one plain line, which any program can write as well.
    /// - Parameters:
    ///   - channel: Nil where the socket has a channel of its own, or the server's default is meant.
    ///   - withinMilliseconds: How long it may take in all. 0 never waits: the kernel takes the line for a server that
    ///     listens on a unix socket, or the event is lost. HTTP has to wait for an answer and needs more. Looking a
    ///     host's name up is not bounded.
    /// - Returns: Whether the event went out: over HTTP, whether the server has taken it; on a socket, whether the
    ///   kernel has for it, so that a server which is stopped just now gets it when it goes on.
    @discardableResult
    public static func emitOnce(
        _ event: [UInt8], to endpoint: Endpoint, channel: String? = nil, withinMilliseconds: Int = 250
    ) -> Bool {
        let deadline = Clock.deadline(after: withinMilliseconds)
        var options = Options()
        options.channel = channel
        options.level = Level.none
        options.connectMilliseconds = withinMilliseconds
        do throws(ClientError) {
            var emitter = try EventEmitter(endpoint, options)
            try emitter.submit(event)
            if case .unix = endpoint {
                try emitter.finish(until: deadline)
                return true
            }
            while true {
                if let answer = try emitter.nextAnswer() { return answer.fault == nil }
                try emitter.exchange(until: deadline)
            }
        } catch {
            return false
        }
    }
}
