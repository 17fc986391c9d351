#include "CWebPage.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

const unsigned char web_page_html[] = {
#embed "page.html"
};
const unsigned char web_page_css[] = {
#embed "page.css"
};
const unsigned char web_page_js[] = {
#embed "page.js"
};
const unsigned char web_fanout_js[] = {
#embed "fanout.js"
};
const size_t web_page_html_size = sizeof web_page_html;
const size_t web_page_css_size = sizeof web_page_css;
const size_t web_page_js_size = sizeof web_page_js;
const size_t web_fanout_js_size = sizeof web_fanout_js;
