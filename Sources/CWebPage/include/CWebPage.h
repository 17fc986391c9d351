// The live page's files, embedded in the binary so that one file is the whole server.
#pragma once
#include <stddef.h>

extern const unsigned char web_page_html[], web_page_css[], web_page_js[], web_fanout_js[];
extern const size_t web_page_html_size, web_page_css_size, web_page_js_size, web_fanout_js_size;
