/// How long to wait before the next attempt to connect.

/// Exponential back-off with jitter: attempt n waits a random time between 100 ms and 200 ms · 2ⁿ, never more than 10
/// s, so that a thousand readers that were cut in the same moment do not come back in the same moment.
public struct Backoff: Sendable {
    /// The shortest wait. 100 ms: a server that restarts at once is back by then.
    public static let delayMillisecondsMin = 100
    /// The longest wait of its own accord. 10 s: a person is still there.
    public static let delayMillisecondsMax = 10_000
    /// The longest wait that a server may ask for: an hour.
    public static let askedMillisecondsMax = 3_600_000

    /// How many attempts in a row follow the server to the letter; later ones wait at least as long as of their own
    /// accord.
    public static let askedExactlyMax = 3

    private var attempts = 0
    /// The longest wait of its own accord, in milliseconds.
    private let ceilingMilliseconds: Int

    /// No attempt has failed yet. Who cannot wait long asks for a lower ceiling, 100 ms at least.
    public init(ceilingMilliseconds: Int = delayMillisecondsMax) {
        self.ceilingMilliseconds = max(Self.delayMillisecondsMin, ceilingMilliseconds)
    }

    /// The next wait in milliseconds. `asked` is what the server's `$bye` said (`retry_ms`), which it has jittered
    /// itself.
    public mutating func next(
        asked: Int? = nil, using generator: inout some RandomNumberGenerator
    ) -> Int {
        let ceiling = min(ceilingMilliseconds, 200 << min(attempts, 16))
        attempts += 1
        let own = Int.random(in: Self.delayMillisecondsMin...ceiling, using: &generator)
        guard let asked else { return own }
        // A server that keeps sending everyone away at once must not be hammered.
        let least = attempts > Self.askedExactlyMax ? own : 0
        return min(max(asked, least), Self.askedMillisecondsMax)
    }

    /// The connection did what it was for: the next failure begins at the shortest wait.
    public mutating func reset() {
        attempts = 0
    }
}
