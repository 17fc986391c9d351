/// The result for people: one line to a figure, what was not measured left out.

import ClientSockets

extension LoadResult {
    /// The lines of the table, without a newline at the end.
    package var table: String {
        var rows: [(String, String)] = []
        func add(_ name: String, _ value: Double?, _ unit: String) {
            if let value { rows.append((name, short(value) + unit)) }
        }
        rows.append(("readers", readersText))
        if let connectsPerSecond, let connectSeconds {
            rows.append(("connected in", "\(short(connectSeconds)) s, \(grouped(connectsPerSecond)) a second"))
        }
        if let behindSeconds { rows.append((wasSnapshot ? "snapshot" : "came back", behindText(behindSeconds))) }
        add("server CPU to connect", cpuPerConnect, " µs a reader")
        if let idleCPUPercent { rows.append(("server CPU idle", "\(short(idleCPUPercent)) % of a core")) }
        if let seconds {
            rows.append(("events", eventsText))
            rows.append(("measured", "\(short(seconds)) s"))
            if deliveries > 0 {
                rows.append(
                    ("deliveries", "\(grouped(Double(deliveries))), \(grouped(Double(deliveries) / seconds)) a second"))
            }
        }
        if let cpuPerDelivery {
            var text = "\(short(cpuPerDelivery)) µs a delivery"
            if let userPerDelivery, let systemPerDelivery {
                text += " (user \(short(userPerDelivery)), system \(short(systemPerDelivery)))"
            }
            rows.append(("server CPU", text))
        }
        add("server CPU", cpuPerEvent, " µs an event")
        add("client CPU", clientPerDelivery, " µs a delivery")
        if let latency {
            rows.append(
                (
                    "latency",
                    "p50 \(milliseconds(latency.p50)), p99 \(milliseconds(latency.p99)), "
                        + "p99.9 \(milliseconds(latency.p999)), max \(milliseconds(latency.max))"
                ))
        }
        addMemory(to: &rows)
        rows.append(("faults", grouped(Double(faults)) + (gaps + ends > 0 ? "; \(gaps) gaps told, \(ends) ends" : "")))
        let width = (rows.map(\.0.count).max() ?? 0) + 2
        return rows.map { $0.0 + String(repeating: " ", count: width - $0.0.count) + $0.1 }.joined(separator: "\n")
    }

    private func addMemory(to rows: inout [(String, String)]) {
        guard let residentStart, residentStart > 0 else { return }
        var text = "\(mebibytes(residentStart)) at first"
        if let residentConnected {
            text += ", \(mebibytes(residentConnected)) with all readers"
            text += " (\(max(0, residentConnected - residentStart) / max(1, readers)) bytes each)"
        }
        if let residentPeak { text += ", \(mebibytes(residentPeak)) at most" }
        rows.append(("server memory", text))
    }

    private func behindText(_ seconds: Double) -> String {
        var text = "\(grouped(Double(behind))) \(wasSnapshot ? "rows" : "events behind"), "
        text += "all at the head after \(short(seconds)) s"
        if let cpuPerReplayed { text += "; server CPU \(short(cpuPerReplayed)) µs a delivery" }
        if let residentGrowthBehind { text += ", memory +\(mebibytes(residentGrowthBehind))" }
        return text
    }

    private var readersText: String {
        var text = "\(grouped(Double(readers))) \(transport)"
        if channels > 1 { text += " on \(grouped(Double(channels))) channels" }
        let slow = [(stalled, "stalled"), (crawling, "crawling")].filter { $0.0 > 0 }
        for (count, name) in slow { text += ", \(count) of them \(name)" }
        return text + (churn > 0 ? ", \(churn) replaced each second" : "")
    }

    private var eventsText: String {
        var text = "\(grouped(Double(events))) of \(bytes) bytes, "
        text +=
            rate > 0
            ? "\(grouped(Double(rate))) a second"
            : readers == 0
                ? "as fast as they are taken"
                : burst > 1 ? "\(burst) at a time" : "one at a time"
        if publishers > 1 { text += ", by \(publishers) publishers" }
        if publishers == 0 { text = "\(grouped(Double(events))) for each reader, published by others: only counted" }
        if let eventsPerSecond { text += "; \(grouped(eventsPerSecond)) events/s" }
        return text
    }

    private func milliseconds(_ microseconds: Double) -> String {
        microseconds < 1000 ? "\(short(microseconds)) µs" : "\(short(microseconds / 1000)) ms"
    }

    private func mebibytes(_ bytes: Int) -> String { short(Double(bytes) / 1_048_576) + " MiB" }
}

/// A number with three digits that count, or a whole one.
func short(_ value: Double) -> String {
    guard value.isFinite else { return "0" }
    if abs(value) >= 100 { return grouped(value) }
    let places = abs(value) >= 10 ? 1 : abs(value) >= 1 ? 2 : 3
    let scale = places == 1 ? 10.0 : places == 2 ? 100.0 : 1000.0
    var text = decimal((value * scale).rounded() / scale)
    while text.hasSuffix("0") { text.removeLast() }
    return text.hasSuffix(".") ? String(text.dropLast()) : text
}

/// A whole number with commas between thousands.
func grouped(_ value: Double) -> String {
    guard value.isFinite, abs(value) < 1e18 else { return "0" }
    let digits = String(Int(value.rounded()).magnitude)
    var text = ""
    for (index, digit) in digits.enumerated() {
        if index > 0, (digits.count - index) % 3 == 0 { text += "," }
        text.append(digit)
    }
    return (value.rounded() < 0 ? "-" : "") + text
}
