/// How the rules of a running hub are replaced by those of a configuration that was read again.

import Wire

extension RuleBook {
    /// Whether every lag limit of a configuration is one.
    func checkLimits(_ configuration: Configuration) throws(StartError) {
        let limits = [configuration.limits] + limits + configuration.listenerLimits.all
        guard limits.allSatisfy(\.isValid) else {
            throw StartError("a lag limit is 1 to \(Configuration.LagLimits.most)", exitCode: .configuration)
        }
    }

    /// Whether there is a database, if some channel waits for one. One that was asked for and could not be opened has
    /// been reported; then there is nothing to wait for.
    func checkStorage(_ configuration: Configuration, records: Bool) throws(StartError) {
        guard records || configuration.dataDirectory != nil || !holdsBack else {
            throw StartError(
                "\"visible\": \"synced\" waits for a database: name its folder with --data", exitCode: .configuration)
        }
    }
}

/// What a configuration says of the state of channels, in its own words: these can be compared.
private struct StateWords {
    struct Words: Equatable {
        var state: Configuration.StateRules
        var discriminator: String
    }

    private let book: RuleBook
    private var byPattern: [ChannelPattern: Words] = [:]

    init(_ book: RuleBook, _ configuration: Configuration) {
        self.book = book
        for (text, rules) in configuration.channelRules {
            guard let pattern = ChannelPattern(text), let state = rules.state else { continue }
            byPattern[pattern] = Words(state: state, discriminator: rules.discriminator)
        }
    }

    /// What holds for a channel; nil where its events make no state.
    subscript(name: ChannelName) -> Words? { book.pattern(of: name).flatMap { byPattern[$0] } }
}

extension Hub {
    /// Takes the rules of another configuration, which were checked. They hold for each event that is published from
    /// now on, and for each subscriber that comes; those who are here keep the terms they came with. What is kept of
    /// channels whose state rules have changed is run through the new ones.
    /// O(channels · rules), and the rows of those channels.
    func replaceRules(_ book: RuleBook, _ configuration: Configuration, from old: Configuration) {
        let wordsBefore = StateWords(rules, old)
        let words = StateWords(book, configuration)
        rules = book
        defaults = (configuration.onLag, configuration.limits, configuration.listenerLimits)
        plainGroups = InlineArray(repeating: (0, 0))
        for index in 0..<UInt32(channels.count) {
            let before = channels[index].rules
            channels[index].rules = book[channels[index].name]
            if records, channels[index].rules.retention != before.retention, !retentionUntold.contains(index) {
                retentionUntold.append(index)
            }
            if channels[index].state != States.none, wordsBefore[channels[index].name] != words[channels[index].name] {
                rederiveState(index)
            }
        }
        // Other rules may say what is as of which event, where there is nothing to be run through them, too.
        images.version &+= 1
        extraWork &+= UInt64(channels.count)
    }
}
