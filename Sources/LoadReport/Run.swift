/// One run of the load generator, read from its line.

import Wire

/// What one line says. Figures that were not measured are absent.
package struct Run: Sendable {
    /// Who was measured.
    package var label: String
    /// Which row of the workload table.
    package var row: String
    /// Which round; 0 where the line does not say.
    package var round: Int
    /// Why the run is worth nothing: it did not end, or deliveries were missing, repeated or foreign.
    package var failure: String?
    /// Why this label was not measured at all.
    package var skipped: String?
    /// What was measured; every value is finite.
    package var figures: [Metric: Double] = [:]
    /// Latencies.
    package var histogram = Histogram()
    /// Readers that were connected.
    package var readers = 0.0
    /// Events that all readers got.
    package var deliveries = 0.0
    /// Events a second that were asked for; 0 for a closed loop.
    package var rate = 0.0
    /// Machine, kernel, commit and date, each by its name.
    package var origin: [String: String] = [:]

    /// What the run measured.
    var measure: Measure {
        if readers == 0 { return .ingest }
        if figures[.idle] != nil { return .idle }
        return deliveries == 0 && figures[.connectsPerSecond] != nil ? .storm : .delivery
    }
}

/// Why a line is not a run.
struct RunFault: Error {
    var message: String
}

extension Run {
    /// The names under which a run says where it was made, in the order in which the report tells them.
    static let originNames = ["cpu", "cores", "kernel", "commit", "date"]

    private static let nameBytesMax = 200
    private static let roundMax = 1_000_000

    /// Reads one line, its end left out.
    init(line: Span<UInt8>) throws(RunFault) {
        let tree: JSONTree
        do {
            tree = try JSONTree.parse(line)
        } catch {
            throw RunFault(message: "\(error.message) (byte \(error.offset))")
        }
        guard tree.members != nil else { throw RunFault(message: "\(tree.kindName) where a run's object should be") }
        if let twice = tree.repeatedMember { throw RunFault(message: "two members \"\(twice.name)\"") }
        label = try Self.text("label", tree) ?? "server"
        row = try Self.text("row", tree) ?? "runs"
        let number = try Self.number(["round"], tree) ?? 0
        guard number.rounded() == number, number <= Double(Self.roundMax) else {
            throw RunFault(message: "\"round\" is not a whole number up to \(Self.roundMax)")
        }
        round = Int(number)
        skipped = try Self.text("skipped", tree)
        failure = try Self.text("failed", tree)
        for metric in Metric.allCases {
            if let place = metric.place { figures[metric] = try Self.number(place, tree) }
        }
        readers = try Self.number(["readers"], tree) ?? 0
        deliveries = try Self.number(["deliveries"], tree) ?? 0
        rate = try Self.number(["rate"], tree) ?? 0
        // The connected ones may be fewer pages than the start: a ratio of memory is then not known.
        if readers > 0, let before = try Self.number(["rss_start"], tree),
            let after = try Self.number(["rss_connected"], tree), after >= before
        {
            figures[.bytesPerReader] = (after - before) / readers
        }
        if let faults = try Self.number(["faults"], tree), faults > 0, failure == nil {
            failure = "\(FigureText.grouped(Int(Swift.min(faults, 1e15)))) deliveries missing, repeated or foreign"
        }
        histogram = try Self.histogram(tree)
        for name in Self.originNames {
            if let number = try? Self.number([name], tree) {
                origin[name] = FigureText.grouped(Int(Swift.min(number, 1e9)))
            } else {
                origin[name] = try Self.text(name, tree)
            }
        }
    }

    /// A text that can stand in a table or a plot as it is; nil where it is absent, null or empty.
    private static func text(_ name: String, _ tree: JSONTree) throws(RunFault) -> String? {
        guard let member = tree[name], !member.isNull else { return nil }
        guard let text = member.string else {
            throw RunFault(message: "\"\(name)\" is \(member.kindName), and should be a string")
        }
        guard text.utf8.count <= nameBytesMax else {
            throw RunFault(message: "\"\(name)\" is longer than \(nameBytesMax) bytes")
        }
        let isPlain = text.unicodeScalars.allSatisfy { scalar in
            scalar.properties.generalCategory != .control && scalar.value & 0xFFFE != 0xFFFE
        }
        guard !text.isEmpty else { return nil }
        guard isPlain else { throw RunFault(message: "\"\(name)\" has a control character") }
        return text
    }

    /// A number that is finite and not negative; nil where it, or what it is in, is absent or null.
    private static func number(_ place: [String], _ tree: JSONTree) throws(RunFault) -> Double? {
        var found = tree
        for name in place {
            guard let member = found[name], !member.isNull else { return nil }
            found = member
        }
        guard let value = value(found), value >= 0 else {
            throw RunFault(message: "\"\(place.joined(separator: "."))\" is not a number from 0")
        }
        return value
    }

    private static func value(_ tree: JSONTree) -> Double? {
        guard case .number(let text) = tree.value, let value = Double(text), value.isFinite else { return nil }
        return value
    }

    private static func histogram(_ tree: JSONTree) throws(RunFault) -> Histogram {
        var histogram = Histogram()
        guard let member = tree["histogram"], !member.isNull else { return histogram }
        guard let pairs = member.elements else { throw RunFault(message: "\"histogram\" is \(member.kindName)") }
        for (index, pair) in pairs.enumerated() {
            guard let parts = pair.elements, parts.count == 2, let upper = value(parts[0]), let count = value(parts[1]),
                histogram.append(upper: upper, count: count)
            else {
                throw RunFault(message: "\"histogram\": entry \(index) is not [upper end, count] with a rising end")
            }
        }
        return histogram
    }
}
