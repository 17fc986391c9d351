// The live page's files and the configuration's schema, embedded in the binary so that one file is the whole server.
#pragma once
#include <stddef.h>

/// The bytes of each file; they live as long as the process.
const unsigned char *web_page_html_bytes(void);
const unsigned char *web_page_css_bytes(void);
const unsigned char *web_page_js_bytes(void);
const unsigned char *web_fanout_js_bytes(void);
const unsigned char *web_configuration_schema_bytes(void);

/// Their sizes in bytes.
extern const size_t web_page_html_size, web_page_css_size, web_page_js_size, web_fanout_js_size;
extern const size_t web_configuration_schema_size;
