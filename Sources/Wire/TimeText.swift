/// Times as ISO 8601 text in UTC with milliseconds: `2026-01-02T03:04:05.678Z`.

/// Writes times; reading them is not needed anywhere.
package enum TimeText {
    /// Every time has this length.
    package static let byteCount = 24

    /// The last millisecond of the year 9999: what lies beyond has no text of this form.
    private static let millisecondsMax: Int64 = 253_402_300_799_999

    /// Writes exactly `byteCount` bytes. Times before 1970 and after 9999 are written as the nearest time between.
    package static func write(milliseconds time: Int64, into output: UnsafeMutablePointer<UInt8>) {
        let time = min(max(time, 0), millisecondsMax)
        let (days, millisecondsOfDay) = time.quotientAndRemainder(dividingBy: 86_400_000)
        let date = civilDate(daysSince1970: days)
        let seconds = millisecondsOfDay / 1000
        put(date.year, digits: 4, output)
        output[4] = UInt8(ascii: "-")
        put(date.month, digits: 2, output + 5)
        output[7] = UInt8(ascii: "-")
        put(date.day, digits: 2, output + 8)
        output[10] = UInt8(ascii: "T")
        put(seconds / 3600, digits: 2, output + 11)
        output[13] = UInt8(ascii: ":")
        put(seconds / 60 % 60, digits: 2, output + 14)
        output[16] = UInt8(ascii: ":")
        put(seconds % 60, digits: 2, output + 17)
        output[19] = UInt8(ascii: ".")
        put(millisecondsOfDay % 1000, digits: 3, output + 20)
        output[23] = UInt8(ascii: "Z")
    }

    /// The Gregorian date of a day. Counts years from March, so that the leap day is a year's last, in eras of 400
    /// years (Howard Hinnant, "chrono-compatible low-level date algorithms").
    private static func civilDate(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let daysSinceYear0 = daysSince1970 + 719_468
        let era = daysSinceYear0 / 146_097
        let dayOfEra = daysSinceYear0 % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private static func put(_ value: Int64, digits: Int, _ output: UnsafeMutablePointer<UInt8>) {
        var rest = value
        for index in (0..<digits).reversed() {
            output[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }
}
