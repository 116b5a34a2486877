// What a running host can be asked to do with its volumes, as JSON objects in and out: the same for the command that became the
// process and for one that speaks to it through its control socket, later also for a daemon's own interface.
// docs/guide/control.md has the list of verbs and their fields.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/json/object.hpp>

#include "host/volume_process.h"

namespace godwit::host {

class VolumeVerbs {
 public:
  using Object = boost::json::object;
  // Told while a verb runs: progress and events.
  using Say = std::function<void(const Object&)>;

  // The process outlives the verbs; requests under way when they go are never answered.
  explicit VolumeVerbs(VolumeProcess& process) : process_(process) {}
  ~VolumeVerbs() { *alive_ = false; }
  VolumeVerbs(const VolumeVerbs&) = delete;
  VolumeVerbs& operator=(const VolumeVerbs&) = delete;

  // `done` may be called from inside. ErrorKind::usage where the request itself is wrong.
  void perform(const Object& request, Say say, net::Done<Object> done);

  // A volume as `create` takes it, and `serve` in its list.
  static Object describe(const VolumeRequest& request);

  // Opens every volume that has a record in the data directory's own folder; those that can not be opened are logged.
  void open_all(net::Task done);

 private:
  struct Pull;
  struct Serving;

  void status(net::Done<Object> done);
  void list(const Object& request, net::Done<Object> done);
  void create(const Object& request, net::Done<Object> done);
  void serve(const Object& request, const Say& say, net::Done<Object> done);
  void serve_next(std::shared_ptr<Serving> serving);
  void pull(const Object& request, Say say, net::Done<Object> done);
  static Result<void> choose_place(Pull& pull, VolumePlaces& places);
  Result<void> check_device(const Pull& pull);
  void begin_pull(std::shared_ptr<Pull> pull);
  void report_pull(const std::shared_ptr<Pull>& pull, const volume::PullStatus& status);
  void tick(const std::shared_ptr<Pull>& pull);
  void finish_pull(const std::shared_ptr<Pull>& pull, Result<Object> result);
  Object describe_pull(const Pull& pull, const volume::PullStatus& status);
  void change_exports(const Object& request, net::Done<Object> done);
  void cancel(const Object& request, net::Done<Object> done);
  void remove(const Object& request, net::Done<Object> done);
  void remove_closed(const std::string& name, const std::string& folder, const volume::Record& record, net::Done<Object> done);
  void find_or_open(const std::string& name, const std::string& folder, net::Done<volume::Volume*> done);

  Object describe(volume::Volume& volume);
  void when_recorded(const std::string& name, net::Done<Object> done);
  void open_each(std::shared_ptr<std::vector<std::string>> names, const std::string& folder, const std::string& base,
                 net::Done<void> done, Result<void> so_far = {});
  // Opens those of a folder's volumes that a pull goes on with.
  void open_unfinished(std::shared_ptr<Pull> pull, net::Done<void> done);
  void keep_unfinished(std::shared_ptr<Pull> pull, std::vector<std::string> looked_at,
                       std::shared_ptr<std::vector<std::string>> kept, net::Done<void> done);
  // Copies that were cancelled, and whose other host knows it, are forgotten.
  void forget_gone(net::Task done);

  VolumeProcess& process_;
  std::vector<volume::ShelfItem> gone_;                   // by open_each(), to be added last
  std::map<std::uint64_t, std::shared_ptr<Pull>> pulls_;  // by the host's number, those under way
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::host
