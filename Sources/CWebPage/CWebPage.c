#include "CWebPage.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char page_html[] = {
#embed "page.html"
};
static const unsigned char page_css[] = {
#embed "page.css"
};
static const unsigned char page_js[] = {
#embed "page.js"
};
static const unsigned char fanout_js[] = {
#embed "fanout.js"
};
static const unsigned char configuration_schema[] = {
#embed "configuration.schema.json"
};

const unsigned char *web_page_html_bytes(void) { return page_html; }
const unsigned char *web_page_css_bytes(void) { return page_css; }
const unsigned char *web_page_js_bytes(void) { return page_js; }
const unsigned char *web_fanout_js_bytes(void) { return fanout_js; }
const unsigned char *web_configuration_schema_bytes(void) { return configuration_schema; }

const size_t web_page_html_size = sizeof page_html;
const size_t web_page_css_size = sizeof page_css;
const size_t web_page_js_size = sizeof page_js;
const size_t web_fanout_js_size = sizeof fanout_js;
const size_t web_configuration_schema_size = sizeof configuration_schema;
