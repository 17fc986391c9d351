/// One flag of one command: the single place that its parsing, its line in `--help` and its environment variable come
/// from.

/// A flag that changes `Options`.
package struct Flag<Options>: Sendable {
    /// The long name, without dashes.
    package let name: String
    /// What stands for the value in the help (`ADDRESS:PORT`); nil exactly when the flag takes no value.
    package let placeholder: String?
    /// The heading it stands under in the help.
    package let group: String
    /// What it does, in the help: plain text, wrapped there.
    package let about: String
    /// The default as the help says it, with its unit; nil where there is none to tell.
    package let standard: String?
    /// Whether giving it twice adds rather than replaces. In the environment the values stand between commas.
    package let repeats: Bool
    /// Applies one value to the options. A switch is given `true` or `false`.
    package let assign: @Sendable (inout Options, String) throws(FlagValueFault) -> Void

    /// The environment variable that stands for the flag: `FANOUT_` and the name in capitals with underscores.
    package var variable: String {
        "FANOUT_" + String(name.uppercased().map { $0 == "-" ? "_" : $0 })
    }

    /// A flag with a value.
    package static func value(
        _ name: String, _ placeholder: String, in group: String, default standard: String? = nil,
        repeats: Bool = false, _ about: String,
        _ assign: @escaping @Sendable (inout Options, String) throws(FlagValueFault) -> Void
    ) -> Flag {
        Flag(
            name: name, placeholder: placeholder, group: group, about: about, standard: standard, repeats: repeats,
            assign: assign)
    }

    /// A flag without a value.
    package static func toggle(
        _ name: String, in group: String, _ about: String, _ assign: @escaping @Sendable (inout Options, Bool) -> Void
    ) -> Flag {
        Flag(
            name: name, placeholder: nil, group: group, about: about, standard: nil, repeats: false,
            assign: { (options: inout Options, text: String) throws(FlagValueFault) in
                assign(&options, try FlagValue.truth(text))
            })
    }

    /// The same flag for a command whose options hold `Options` as a part.
    package func within<Whole>(_ part: WritableKeyPath<Whole, Options> & Sendable) -> Flag<Whole> {
        Flag<Whole>(
            name: name, placeholder: placeholder, group: group, about: about, standard: standard, repeats: repeats,
            assign: { (whole: inout Whole, text: String) throws(FlagValueFault) in
                try assign(&whole[keyPath: part], text)
            })
    }
}

/// A value that a flag cannot take: the end of a sentence that begins with the flag's name.
package struct FlagValueFault: Error, Equatable {
    /// As in `needs a value that is not empty`, without a full stop.
    package let text: String

    package init(_ text: String) {
        self.text = text
    }
}

/// The kinds of values that flags share.
package enum FlagValue {
    /// A whole number inside `range`.
    package static func integer(_ text: String, _ range: ClosedRange<Int>) throws(FlagValueFault) -> Int {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(text), range.contains(number) else {
            throw FlagValueFault("needs a whole number from \(range.lowerBound) to \(range.upperBound), not '\(text)'")
        }
        return number
    }

    /// One of an enumeration's cases by its raw value.
    package static func choice<Choice>(_ text: String, of type: Choice.Type) throws(FlagValueFault) -> Choice
    where Choice: RawRepresentable<String> & CaseIterable {
        guard let choice = Choice(rawValue: text) else {
            let names = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw FlagValueFault("needs one of \(names), not '\(text)'")
        }
        return choice
    }

    /// Text that is not empty.
    package static func text(_ text: String) throws(FlagValueFault) -> String {
        guard !text.isEmpty else { throw FlagValueFault("needs a value that is not empty") }
        return text
    }

    /// A switch's value, which only the environment can write out.
    package static func truth(_ text: String) throws(FlagValueFault) -> Bool {
        switch text.lowercased() {
        case "1", "true", "yes", "on": return true
        case "0", "false", "no", "off", "": return false
        default: throw FlagValueFault("needs one of 1, true, yes, on, 0, false, no, off, not '\(text)'")
        }
    }
}
