/// What readers of JSONL and SSE streams write: `$subscribe` as the first line, or nothing that matters.

import Wire

extension Engine {
    /// The first line may be this long: 128 channels fit.
    static let subscribeBytesMax = 64 * 1024

    /// Uses what a reader wrote. Only the first line of a raw JSONL reader is looked at.
    func consumeFromReader(_ slot: UInt32, _ bytes: UnsafeMutableBufferPointer<UInt8>) -> Int {
        let connection = delivery.connections.records + Int(slot)
        // Who was said goodbye to is not listened to any more: `$subscribe` would begin a new stream behind `$bye`.
        guard connection.pointee.isLive else { return bytes.count }
        let isRaw = connection.pointee.transport == .jsonlUnix || connection.pointee.transport == .jsonlTCP
        guard isRaw, !connection.pointee.flags.contains(.firstSeen) else {
            noteInput(slot, bytes.count)
            return bytes.count
        }
        var searched = connection.pointee.input == Connection.none ? 0 : inputs[connection.pointee.input].searched
        switch LineFramer.next(bytes.span, from: 0, searched: &searched, lineBytesMax: Self.subscribeBytesMax) {
        case .incomplete:
            inputs[inputBuffer(of: slot)].searched = searched
            return 0
        case .tooLong:
            connection.pointee.flags.insert(.firstSeen)
            noteInput(slot, bytes.count)
            return bytes.count
        case .line(let range, let next):
            if connection.pointee.input != Connection.none { inputs[connection.pointee.input].searched = 0 }
            // A line of exactly the limit passes; an empty one counts as a byte.
            guard noteInput(slot, max(1, Int(range.count))) else { return bytes.count }
            if LineFramer.isBlank(bytes.span.extracting(range.range)) { return next }
            connection.pointee.flags.insert(.firstSeen)
            resubscribe(slot, bytes.span.extracting(range.range))
            return next
        }
    }

    /// If the text is `$subscribe`, what it says replaces the subscription; a new `$hello` marks the change.
    func resubscribe(_ slot: UInt32, _ text: Span<UInt8>) {
        do throws(SubscriptionFault) {
            guard let subscription = try Subscription.inLine(text) else { return }
            try hub.checkLimits(subscription, at: delivery.connections[slot].listener)
            guard subscription.start != .snapshot || hub.mayKeepState(subscription.patterns) else {
                throw SubscriptionFault.noState
            }
            guard hasMemory(for: subscription, at: delivery.connections[slot].listener) else {
                return bye(slot, .overload)
            }
            // What it has missed so far belongs to the old subscription, and is said before the new `$hello`.
            let flags = delivery.connections[slot].flags
            if !flags.isDisjoint(with: [.skipping, .wasLagging]) { endSkipping(slot, plainly: true) }
            let makesUp = appendKeptBackHello(slot, subscription)
            hub.detach(slot)
            startStream(slot, subscription, opening(subscription), afterHead: makesUp)
        } catch {
            log.info("a $subscribe was refused: \(error.code): \(error.message)")
            bye(slot, .policy, why: error.code)
        }
    }

    /// Who asks in a line knows by the second `$hello` that its own subscription has begun. Where the first one was
    /// kept back, because the channels' readers get no control records unless they ask, it is said now, into `scratch`.
    /// - Returns: whether it was.
    private func appendKeptBackHello(_ slot: UInt32, _ subscription: Subscription) -> Bool {
        let connection = delivery.connections.records + Int(slot)
        guard connection.pointee.flags.contains(.controlOff),
            subscription.control ?? hub.rules.common(to: subscription.patterns).control
        else { return false }
        scratch.removeAll(keepingCapacity: true)
        openingTexts.appendHello(
            connection.pointee.transport.format, head: hub.headCursor, heartbeatSeconds: configuration.heartbeatSeconds,
            discriminator: hub.discriminator(of: slot), schema: hub.schema(of: slot), to: &scratch)
        return true
    }
}
