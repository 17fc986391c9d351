/// The date format of HTTP (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
package enum HTTPDate {
    /// Appends the 29 bytes for `secondsSince1970`; times before 1970 and after the year 9999 are written as the
    /// nearest that fits.
    package static func append(_ secondsSince1970: Int64, to output: inout [UInt8]) {
        let seconds = min(max(secondsSince1970, 0), 253_402_300_799)
        let days = Int(seconds / 86_400)
        let second = Int(seconds % 86_400)
        let (year, month, day) = civil(days)
        append(weekdays, (days + 4) % 7, to: &output)
        output.append(contentsOf: [UInt8(ascii: ","), ASCII.space])
        append(day, digits: 2, to: &output)
        output.append(ASCII.space)
        append(months, month - 1, to: &output)
        output.append(ASCII.space)
        append(year, digits: 4, to: &output)
        output.append(ASCII.space)
        append(second / 3600, digits: 2, to: &output)
        output.append(UInt8(ascii: ":"))
        append(second / 60 % 60, digits: 2, to: &output)
        output.append(UInt8(ascii: ":"))
        append(second % 60, digits: 2, to: &output)
        output.append(text: " GMT")
    }

    private static let weekdays: StaticString = "SunMonTueWedThuFriSat"
    private static let months: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"

    private static func append(_ names: StaticString, _ index: Int, to output: inout [UInt8]) {
        names.withUTF8Buffer { output.append(contentsOf: $0[(index * 3)..<(index * 3 + 3)]) }
    }

    private static func append(_ value: Int, digits: Int, to output: inout [UInt8]) {
        var divisor = 1
        for _ in 1..<digits { divisor *= 10 }
        while divisor > 0 {
            output.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }

    /// The Gregorian date of a day counted from 1970-01-01, for days from 0 on. Years are counted from March so that
    /// the leap day is the last of its year, in cycles of 400 years of 146,097 days.
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let (cycle, dayOfCycle) = shifted.quotientAndRemainder(dividingBy: 146_097)
        let yearOfCycle = (dayOfCycle - dayOfCycle / 1460 + dayOfCycle / 36_524 - dayOfCycle / 146_096) / 365
        let dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (cycle * 400 + yearOfCycle + (month <= 2 ? 1 : 0), month, day)
    }
}
