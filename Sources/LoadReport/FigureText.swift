/// Numbers as text for people: three significant digits, thousands apart, times with their unit.

import Glibc

enum FigureText {
    /// Three significant digits without an exponent: `0.193`, `4.21`, `16.6`, `412,000`. What is beyond 10¹⁵ or below
    /// 10⁻⁶ is written as Swift writes it, or as 0.
    static func short(_ value: Double) -> String {
        guard value.isFinite else { return "–" }
        let size = value.magnitude
        if size < 1e-6 { return "0" }
        if size >= 1e15 { return "\(value)" }
        var unit = 1.0
        while size >= unit * 10 { unit *= 10 }
        while size < unit { unit /= 10 }
        var digits = (size / unit * 100).rounded()
        if digits >= 1000 {
            digits = 100
            unit *= 10
        }
        var decimals = 2
        var scale = unit
        while scale > 1.5 {
            decimals -= 1
            scale /= 10
        }
        while scale < 0.75 {
            decimals += 1
            scale *= 10
        }
        let sign = value < 0 ? "-" : ""
        if decimals > 0 { return sign + fixed(size, decimals: decimals) }
        var whole = digits
        for _ in 0..<(-decimals) { whole *= 10 }
        return sign + grouped(Int(whole))
    }

    /// A number beside an axis: `short` without zeros behind the point.
    static func tick(_ value: Double) -> String {
        let text = short(value)
        guard text.contains(".") else { return text }
        let kept = text.reversed().drop { $0 == "0" }
        return String((kept.first == "." ? kept.dropFirst() : kept).reversed())
    }

    /// A ratio: two decimals below ten.
    static func ratio(_ value: Double) -> String {
        value.isFinite && value.magnitude < 9.995 && value.magnitude >= 0.095 ? fixed(value, decimals: 2) : short(value)
    }

    /// Exactly `decimals` digits after the point, rounded; `value` is below 10¹⁵.
    static func fixed(_ value: Double, decimals: Int) -> String {
        guard value.isFinite, value.magnitude < 1e15 else { return "\(value)" }
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let scaled = (value.magnitude * scale).rounded()
        guard scaled < 9e18 else { return "\(value)" }
        let digits = String(Int(scaled))
        let padded = String(repeating: "0", count: Swift.max(0, decimals + 1 - digits.count)) + digits
        let sign = value < 0 && scaled > 0 ? "-" : ""
        if decimals == 0 { return sign + padded }
        return "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
    }

    /// `12,345`.
    static func grouped(_ value: Int) -> String {
        let digits = String(value.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return value < 0 ? "-" + text : text
    }

    /// `420 µs`, `1.23 ms`, `2.50 s`.
    static func time(microseconds value: Double) -> String {
        if value < 999.5 { return short(value) + " µs" }
        return value < 999_500 ? short(value / 1000) + " ms" : short(value / 1_000_000) + " s"
    }

    /// `640 B`, `12.3 KiB`, `7.01 MiB`.
    static func bytes(_ value: Double) -> String {
        if value < 1024 { return short(value) + " B" }
        let kibibytes = value / 1024
        return kibibytes < 1024 ? short(kibibytes) + " KiB" : short(kibibytes / 1024) + " MiB"
    }

    /// Step and end of an axis from zero that holds `most` with about `wanted` ticks, each a round number.
    static func axis(most: Double, wanted: Int = 6) -> (step: Double, end: Double) {
        // Beyond these there are no round numbers to be had in arithmetic of 64 bits.
        guard most >= 1e-300, most <= 1e300 else { return (1, 1) }
        let rough = most / Double(wanted)
        let unit = pow(10, log10(rough).rounded(.down))
        let step = [1, 2, 2.5, 5, 10].map { $0 * unit }.first { $0 >= rough * 0.999 } ?? 10 * unit
        return (step, (most / step - 1e-9).rounded(.up) * step)
    }
}
