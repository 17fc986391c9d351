/// Whether a text is a time as RFC 3339 writes them.

import Wire

enum Timestamp {
    /// Whether `text` is a `date-time` of RFC 3339: a day that there is, a time of day, an offset. A second 60 is one
    /// exactly in the last minute of a month in UTC, where leap seconds are. Linear in the length.
    static func isValid(_ text: Span<UInt8>) -> Bool {
        guard text.count >= 20,
            let year = digits(text, 0, 4), text[4] == UInt8(ascii: "-"),
            let month = digits(text, 5, 2), text[7] == UInt8(ascii: "-"),
            let day = digits(text, 8, 2), text[10] | 0x20 == UInt8(ascii: "t"),
            let hour = digits(text, 11, 2), text[13] == UInt8(ascii: ":"),
            let minute = digits(text, 14, 2), text[16] == UInt8(ascii: ":"),
            let second = digits(text, 17, 2),
            1...12 ~= month, 1...days(in: month, of: year) ~= day, hour < 24, minute < 60, second <= 60
        else { return false }
        var index = 19
        if text[index] == UInt8(ascii: ".") {
            index += 1
            let first = index
            while index < text.count, text[index].isDigit { index += 1 }
            guard index > first else { return false }
        }
        guard let offset = offset(text, index) else { return false }
        guard second == 60 else { return true }
        // Minutes since the day began in UTC, which may be the day before or after.
        let utc = hour * 60 + minute - offset
        let utcDay = day + (utc < 0 ? -1 : utc / 1440)
        return (utc + 1440) % 1440 == 1439 && (utcDay == 0 || utcDay == days(in: month, of: year))
    }

    /// Minutes that the local time is ahead of UTC, where nothing else stands at `index`.
    private static func offset(_ text: Span<UInt8>, _ index: Int) -> Int? {
        guard index < text.count else { return nil }
        let sign = text[index]
        if sign | 0x20 == UInt8(ascii: "z") { return index + 1 == text.count ? 0 : nil }
        guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"), index + 6 == text.count,
            let hours = digits(text, index + 1, 2), text[index + 3] == UInt8(ascii: ":"),
            let minutes = digits(text, index + 4, 2), hours < 24, minutes < 60
        else { return nil }
        return (hours * 60 + minutes) * (sign == UInt8(ascii: "-") ? -1 : 1)
    }

    private static func digits(_ text: Span<UInt8>, _ start: Int, _ count: Int) -> Int? {
        var value = 0
        for index in start..<start + count {
            guard text[index].isDigit else { return nil }
            value = value * 10 + Int(text[index] - UInt8(ascii: "0"))
        }
        return value
    }

    private static func days(in month: Int, of year: Int) -> Int {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }
}
