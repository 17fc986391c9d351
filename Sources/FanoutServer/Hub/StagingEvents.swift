/// How events come to be staged: checked, compacted and put beside those that are published with them.

import Wire

extension Hub {
    /// How many events are staged.
    var stagedCount: Int { staging.events.count }

    /// Whether no further event may be staged.
    var isStagingFull: Bool { staging.isFull }

    /// The rules for events of a channel, which need not exist yet.
    func eventRules(of name: ChannelName) -> CompiledRules {
        channels.index(of: name).map { channels[$0].rules } ?? rules[name]
    }

    /// Checks an event and keeps it for `publishStaged`. What was staged before stays if it is refused.
    /// - Parameter line: which line of a batch it is, from 1.
    func stage(_ text: Span<UInt8>, rules: CompiledRules, line: Int? = nil) throws(PublishFault) {
        do throws(EventFault) {
            try staging.add(text, rules: rules.event)
        } catch {
            throw PublishFault(error, line: line)
        }
        if let checks = rules.checks { try check(checks, line, mayEnd: rules.mayEnd) }
    }

    /// The same under the rules of a channel that exists.
    func stage(_ text: Span<UInt8>, for channel: UInt32) throws(PublishFault) {
        let channel = channels.channels + Int(channel)
        do throws(EventFault) {
            try staging.add(text, rules: channel.pointee.rules.event)
        } catch {
            throw PublishFault(error, line: nil)
        }
        if let checks = channel.pointee.rules.checks { try check(checks, nil, mayEnd: channel.pointee.rules.mayEnd) }
    }

    /// Looks into the event that was staged last, as its channel's rules ask.
    private func check(_ checks: EventChecks, _ line: Int?, mayEnd: Bool) throws(PublishFault) {
        guard let event = staging.events.last else { preconditionFailure("an event was staged") }
        do throws(PublishFault) {
            if staging.endsChannel { throw .behindTheEnd }
            let bytes = staging.bytes(of: event).span
            if let schema = checks.schema { try judge(schema, bytes) }
            staging.setChange(try checks.check(event.record, bytes))
            if mayEnd, checks.terminal?.find(event.record, bytes) != nil { staging.setEndsChannel() }
        } catch {
            staging.removeLast()
            throw error.inLine(line)
        }
    }

    /// What tells the staged events, in their order, from any others. Linear in their bytes.
    func stagedDigest() -> ContentDigest {
        var digester = ContentDigester()
        for event in staging.events {
            digester.add(staging.bytes(of: event))
            // Compacted events have none: so their boundaries count.
            digester.add(UInt8(ascii: "\n"))
        }
        return digester.finish()
    }

    /// Forgets what is staged.
    func discardStaged() { staging.removeAll() }
}
