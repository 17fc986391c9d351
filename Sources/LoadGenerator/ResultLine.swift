/// A result as one line of JSON.

import ClientSockets
import Wire

extension LoadResult {
    /// Labels that a caller adds to the line, before what was measured.
    package struct Labels: Sendable {
        package var label: String?
        package var row: String?
        package var round: Int?
        package var commit: String?
        package var date = ""

        package init() {}
    }

    /// Appends the result as one JSON object without a newline.
    package func appendJSON(_ labels: Labels, _ machine: Machine, to output: inout [UInt8]) {
        var object = JSONObjectWriter()
        object.add("label", labels.label)
        object.add("row", labels.row)
        object.add("round", labels.round)
        object.add("transport", transport)
        object.add("readers", readers)
        object.add("channels", channels)
        object.add("publishers", publishers)
        object.add("events", events)
        object.add("bytes", bytes)
        object.add("burst", burst)
        object.add("rate", rate)
        object.add("stalled", stalled)
        object.add("crawling", crawling)
        object.add("churn", churn)
        object.add("behind", behind)
        if wasSnapshot { object.add("snapshot", 1) }
        object.add("deliveries", deliveries)
        object.add("faults", faults)
        object.add("gaps", gaps)
        object.add("ends", ends)
        object.add("seconds", seconds)
        object.add("events_per_second", eventsPerSecond)
        object.add("received_bytes", receivedBytes)
        object.add("server_cpu_us_per_delivery", cpuPerDelivery)
        object.add("server_user_us_per_delivery", userPerDelivery)
        object.add("server_system_us_per_delivery", systemPerDelivery)
        object.add("server_cpu_us_per_event", cpuPerEvent)
        object.add("rss_start", residentStart)
        object.add("rss_connected", residentConnected)
        object.add("rss_peak", residentPeak)
        object.add("idle_cpu_percent", idleCPUPercent)
        object.add("connect_seconds", connectSeconds)
        object.add("connects_per_second", connectsPerSecond)
        object.add("connect_cpu_us", cpuPerConnect)
        object.add("behind_seconds", behindSeconds)
        object.add("behind_cpu_us_per_delivery", cpuPerReplayed)
        object.add("behind_rss_growth", residentGrowthBehind)
        object.add("client_cpu_us_per_delivery", clientPerDelivery)
        addLatency(to: &object)
        object.add("cpu", machine.processor)
        object.add("cores", machine.cores)
        object.add("kernel", machine.kernel)
        object.add("commit", labels.commit)
        object.add("date", labels.date)
        output += object.finished
    }

    private func addLatency(to object: inout JSONObjectWriter) {
        guard let latency else {
            object.addRaw("latency_us", "null")
            object.addRaw("histogram", "null")
            return
        }
        var inner = JSONObjectWriter()
        inner.add("p50", latency.p50)
        inner.add("p99", latency.p99)
        inner.add("p999", latency.p999)
        inner.add("max", latency.max)
        object.addRaw("latency_us", String(decoding: inner.finished, as: UTF8.self))
        let buckets = histogram.map { "[\(decimal(Double($0.upperNanoseconds) / 1000)),\($0.count)]" }
        object.addRaw("histogram", "[\(buckets.joined(separator: ","))]")
    }
}

/// Writes the members of one JSON object.
struct JSONObjectWriter {
    private var bytes = [UInt8(ascii: "{")]

    mutating func add(_ name: String, _ value: Int?) {
        addRaw(name, value.map(String.init) ?? "null")
    }

    mutating func add(_ name: String, _ value: Double?) {
        addRaw(name, value.map(decimal) ?? "null")
    }

    mutating func add(_ name: String, _ value: String?) {
        addName(name)
        guard let value else {
            bytes += "null".utf8
            return
        }
        JSONText.appendQuoted(value, to: &bytes)
    }

    /// Adds a value that is JSON already.
    mutating func addRaw(_ name: String, _ json: String) {
        addName(name)
        bytes += json.utf8
    }

    private mutating func addName(_ name: String) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        JSONText.appendQuoted(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
    }

    var finished: [UInt8] { bytes + [UInt8(ascii: "}")] }
}
