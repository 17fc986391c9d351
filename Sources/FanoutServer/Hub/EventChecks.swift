/// What a channel's rules ask of an event that is one, and what the event changes there.

import Wire

/// The rules of one pattern that look into events. Made once, when the configuration is read; channels without any have
/// none, and pay for none.
final class EventChecks {
    /// What an event changes; nil where channels keep no state.
    let state: StateRules?
    /// Kinds whose event is the channel's last; nil is none.
    let terminal: KindTable?
    /// What events must look like; nil is anything.
    let schema: ChannelSchema?

    /// Nil where nothing is asked.
    /// - Parameter pattern: the channels that the rules hold for.
    init?(_ rules: Configuration.ChannelRules, of pattern: ChannelPattern) throws(StartError) {
        if let text = rules.schema { schema = try ChannelSchema(text, rules, of: pattern) } else { schema = nil }
        if let state = rules.state {
            let name = pattern.name.map(\.description)
            self.state = try StateRules(state, discriminator: Array(rules.discriminator.utf8), channel: name)
        } else {
            state = nil
        }
        terminal = rules.terminal.isEmpty ? nil : KindTable(rules.terminal)
        if schema == nil, state == nil, terminal == nil { return nil }
    }

    /// Looks at an event that was compacted.
    /// - Throws: what its publisher is told; then it is not published.
    func check(_ record: EventRecord, _ event: Span<UInt8>) throws(PublishFault) -> StateChange {
        try state?.change(record, event) ?? .none
    }
}
