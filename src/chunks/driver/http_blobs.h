// The blobs of any web server, read-only: a chunk store behind nginx, `godwit image serve`, desync's chunk-server or an object
// service's plain URLs. Source: casync.md 5 ("HTTP"), 8.5.
#pragma once

#include <memory>
#include <string>

#include "chunks/driver/http_client.h"
#include "store/blob_store.h"

namespace godwit::chunks {

// A blob's address is `url` up to '?' or ';', without slashes at its end, and '/' and the name. 404 is "not there"; a 400 to a
// name with ".cacnk", or to one without, means that this server has the other form only (desync's is so), which is remembered:
// such names are then not there without asking. Any other status is an error. The scheduler outlives the store.
std::unique_ptr<store::BlobStore> make_http_blobs(std::string_view url, net::Scheduler& scheduler,
                                                  HttpClientOptions options = {});

}  // namespace godwit::chunks
