/// How much of one HTTP request the parsers take. A limit that says N accepts N and refuses N + 1.
package struct HTTPLimits: BitwiseCopyable, Sendable {
    /// The request line without its CRLF, in bytes; more is 414.
    package var requestLineBytesMax = 8192
    /// The whole head with its final empty line, in bytes; more is 431.
    package var headBytesMax = 16_384
    /// Field lines in a head, and again in the trailer section of a chunked body; more is 431.
    package var fieldsMax = 100
    /// All chunk extensions of one body together, in bytes, each counted from behind its chunk size; more is 400.
    package var chunkExtensionBytesMax = 256
    /// The trailer section of a chunked body with its final empty line, in bytes; more is 431.
    package var trailerBytesMax = 8192

    package init() {}
}
