/// The configuration file's JSON Schema: what `fanout check --schema` prints.

import CWebPage

/// For editors, which complete and check with it, and for programs that write configurations. The reader knows more:
/// what two keys say of one another, and whether files and sockets are what they should be. A test holds the two
/// together.
package enum ConfigurationSchema {
    /// The schema (draft 2020-12) as JSON text, with a line feed at its end. The file is
    /// `Sources/CWebPage/configuration.schema.json`.
    package static var text: [UInt8] {
        Array(UnsafeBufferPointer(start: web_configuration_schema_bytes(), count: web_configuration_schema_size))
    }
}
