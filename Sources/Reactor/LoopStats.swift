/// What a loop has counted since it was made.

/// Counters, all rising. Per-turn ratios (completions, submissions per enter) are the loop's health numbers.
package struct LoopStats: BitwiseCopyable, Sendable, Equatable {
    /// Turns taken.
    package var ticks: UInt64 = 0
    /// Completions given to the caller.
    package var completions: UInt64 = 0
    /// Times the kernel was entered to submit and wait (io_uring_enter, epoll_wait).
    package var enters: UInt64 = 0
    /// Operations given to the kernel.
    package var submissions: UInt64 = 0
    /// Sends begun.
    package var sends: UInt64 = 0
    /// Sends that took fewer bytes than asked for, zero included.
    package var shortSends: UInt64 = 0
    /// Times a socket had bytes but no receive buffer was free. It is armed again by the loop.
    package var receiveBufferExhaustions: UInt64 = 0
    /// Times the completion queue was full and the kernel kept completions aside. None is lost.
    package var completionQueueOverflows: UInt64 = 0
    /// Results that came for a socket already closed, and were dropped.
    package var staleCompletions: UInt64 = 0
    /// Connections that failed before they could be accepted, and errors that stopped accepting.
    package var acceptErrors: UInt64 = 0
    /// Connections that were closed as soon as they were accepted, for want of a place or a descriptor.
    package var connectionsShed: UInt64 = 0

    package init() {}
}
