/// The values of the configuration file: each is what its key asks for, or a fault at its place.

import Wire

extension ConfigurationReader {
    /// The members of an object that are known, each once; a fault for every other one.
    mutating func members(
        of tree: JSONTree, _ subject: String, known: [String], later: [String]
    ) -> [(key: String, value: JSONTree)] {
        guard let members = tree.members else {
            fault(tree.offset, "\(subject) must be an object, not \(tree.kindName)")
            return []
        }
        var result: [(key: String, value: JSONTree)] = []
        for member in members {
            let name = member.name
            if result.contains(where: { $0.key == name }) {
                fault(member.offset, "the key '\(name)' stands here twice")
            } else if known.contains(name) {
                result.append((name, member.value))
            } else if later.contains(name) {
                fault(member.offset, "the key '\(name)' is not supported by this version: remove it")
            } else {
                let near = NearestName.find(name, among: known).map { ", did you mean '\($0)'?" }
                fault(
                    member.offset,
                    "unknown key '\(name)'" + (near ?? ": \(subject) has " + known.joined(separator: ", ")))
            }
        }
        return result
    }

    mutating func text(_ tree: JSONTree, _ key: String) -> String? {
        if let text = tree.string, !text.isEmpty, !text.utf8.contains(0) { return text }
        fault(
            tree.offset,
            "'\(key)' must be a string that is not empty\(tree.string == nil ? ", not \(tree.kindName)" : "")")
        return nil
    }

    mutating func address(_ tree: JSONTree, _ key: String) -> String? {
        guard let text = text(tree, key) else { return nil }
        if ValueSyntax.isAddress(text) { return text }
        fault(tree.offset, "'\(key)' must be ADDRESS:PORT, such as 127.0.0.1:7575 or [::1]:7575, not '\(text)'")
        return nil
    }

    mutating func boolean(_ tree: JSONTree, _ key: String) -> Bool? {
        if let isTrue = tree.bool { return isTrue }
        fault(tree.offset, "'\(key)' must be true or false")
        return nil
    }

    mutating func integer(_ tree: JSONTree, _ key: String, _ range: ClosedRange<Int>) -> Int? {
        if let number = tree.integer, range.contains(number) { return number }
        fault(tree.offset, "'\(key)' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        return nil
    }

    /// A number of bytes, if it is a right one: a number, or a string with a unit.
    mutating func byteCount(
        _ tree: JSONTree, _ key: String, _ isRight: (Int) -> Bool, _ advice: String
    ) -> Int? {
        if let bytes = tree.integer ?? tree.string.flatMap(ValueSyntax.byteCount), isRight(bytes) { return bytes }
        fault(tree.offset, "'\(key)' must be \(advice)")
        return nil
    }

    mutating func choice<Choice>(
        _ tree: JSONTree, _ key: String, _ choices: [(name: String, value: Choice)], later: [String] = []
    ) -> Choice? {
        if let found = choices.first(where: { $0.name == tree.string }) { return found.value }
        if let text = tree.string, later.contains(text) {
            fault(tree.offset, "'\(key)': '\(text)' is not supported by this version")
        } else {
            fault(tree.offset, "'\(key)' must be one of " + choices.map { "\"\($0.name)\"" }.joined(separator: ", "))
        }
        return nil
    }

    /// A list of strings, without those about which `complaint` has something to say.
    mutating func list(
        _ tree: JSONTree, _ key: String, complaint: (String) -> String?
    ) -> [String] {
        guard let elements = tree.elements else {
            fault(tree.offset, "'\(key)' must be a list of strings, not \(tree.kindName)")
            return []
        }
        var result: [String] = []
        for element in elements {
            guard let text = element.string else {
                fault(element.offset, "'\(key)' must hold strings, not \(element.kindName)")
                continue
            }
            if let complaint = complaint(text) {
                fault(element.offset, "'\(key)': '\(text)' \(complaint)")
            } else {
                result.append(text)
            }
        }
        return result
    }
}
