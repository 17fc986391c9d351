/// What a reader asked for, whatever the words were: a query, a header or a `$subscribe` line.

import Wire

/// A subscription before it is attached to the hub.
struct Subscription {
    /// Where the stream begins.
    enum Start: Equatable {
        /// With the next event.
        case now
        /// With the oldest event held.
        case start
        /// With the present state.
        case snapshot
        /// After this place.
        case after(Cursor)
        /// After a place that means nothing here: a `Last-Event-ID` that is no cursor of ours.
        case unknown
    }

    /// Channels to read; none means every one.
    var patterns: [ChannelPattern] = []
    /// Kinds to read, unescaped; none means every one, and events without a kind.
    var types: [[UInt8]] = []
    /// nil: what the channel says.
    var start: Start?
    /// nil: what the channel says.
    var onLag: Configuration.LagPolicy?
    /// Smaller limits than it would have.
    var lag = LagWish()
    /// Whether a missed event ends the stream instead of being reported.
    var failsOnGap = false
    /// nil: what the channel says.
    var control: Bool?

    /// Whether nothing is said but where the stream begins and whether it has `$` records.
    var isPlain: Bool {
        patterns.isEmpty && types.isEmpty && onLag == nil && lag == LagWish() && !failsOnGap
    }

    /// Whether the reader gets every event there is.
    var isEverything: Bool {
        types.isEmpty && (patterns.isEmpty || patterns.contains { $0.isEverything })
    }
}
