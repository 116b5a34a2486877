#include "sim/disk_directory.h"

#include <utility>

#include "sim/disk_device.h"

namespace godwit::sim {

namespace {

constexpr std::uint64_t kSmallFileBytesMax = 64 << 20;  // store::Directory::read_file

Result<void> check_name(const std::string& name) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.find('/') == name.npos && name.find('\0') == name.npos;
  // As in a real folder, temporary names are nobody's.
  if (!plain || name.ends_with(".tmp")) return fail(ErrorKind::invalid, "not a plain name: " + escaped(name));
  return {};
}

}  // namespace

template <class T>
void SimDirectory::run(DiskOp op, std::uint64_t bytes, Partly partly, std::function<Result<T>()> effect, net::Done<T> done) {
  Disk::UnderWay under_way;
  under_way.group = group_;
  if (partly == Partly::on_crash) under_way.effect = [effect] { (void)effect(); };
  disk_.run(
      op, group_, bytes, std::move(under_way),
      [&disk = disk_, partly, effect = std::move(effect), done = std::move(done)](Disk::UnderWay&, Result<void> result) mutable {
        if (result) return done(effect());
        if (partly == Partly::on_crash && disk.random().chance(0.5)) (void)effect();
        done(fail(std::move(result).error()));
      });
}

Result<std::shared_ptr<DiskFile>> SimDirectory::find(const std::string& name) const {
  if (Result<void> plain = check_name(name); !plain) return fail(std::move(plain).error());
  const auto found = files_.find(name);
  if (found == files_.end()) return fail(ErrorKind::not_found, name + ": no such file");
  return found->second;
}

void SimDirectory::list(net::Done<std::vector<std::string>> done) {
  const auto effect = [this]() -> Result<std::vector<std::string>> {
    std::vector<std::string> names;
    for (const auto& [name, file] : files_) names.push_back(name);
    return names;
  };
  run<std::vector<std::string>>(DiskOp::names, 0, Partly::never, effect, std::move(done));
}

void SimDirectory::read_file(const std::string& name, net::Done<Bytes> done) {
  const auto found = files_.find(name);
  const std::uint64_t bytes = found == files_.end() ? 0 : std::min(found->second->size(), kSmallFileBytesMax);
  const auto effect = [this, name]() -> Result<Bytes> {
    Result<std::shared_ptr<DiskFile>> file = find(name);
    if (!file) return fail(std::move(file).error());
    if ((*file)->size() > kSmallFileBytesMax) return fail(ErrorKind::limit, name + ": larger than a small file may be");
    Bytes content((*file)->size());
    (*file)->live().read(0, content);
    return content;
  };
  run<Bytes>(DiskOp::read_file, bytes, Partly::never, effect, std::move(done));
}

void SimDirectory::replace_file(const std::string& name, Bytes content, net::Done<void> done) {
  const std::uint64_t bytes = content.size();
  const auto file = disk_.make_file(0);
  file->apply_durably({0, bytes, std::move(content), false});
  const auto effect = [this, name, file]() -> Result<void> {
    if (Result<void> plain = check_name(name); !plain) return plain;
    files_[name] = file;
    return {};
  };
  run<void>(DiskOp::replace_file, bytes, Partly::on_crash, effect, std::move(done));
}

void SimDirectory::write_slot(const std::string& name, std::uint64_t offset, Bytes content, net::Done<void> done) {
  const Result<std::shared_ptr<DiskFile>> file = find(name);
  Disk::UnderWay under_way{group_, 0, nullptr, {offset, content.size(), {}, false}, {}};
  const std::uint64_t bytes = content.size();
  if (file) {
    under_way.file = *file;
    under_way.change.bytes = std::move(content);
  }
  disk_.run(DiskOp::write, group_, bytes, std::move(under_way),
            [&disk = disk_, error = file ? Result<void>{} : fail(file.error()), done = std::move(done)](
                Disk::UnderWay& asked, Result<void> result) mutable {
              if (!error) return done(std::move(error));
              if (!result) {
                asked.change.cut_short(disk.random());
                asked.file->apply(std::move(asked.change));
              } else {
                asked.file->apply_durably(asked.change);
              }
              done(std::move(result));
            });
}

void SimDirectory::rename(const std::string& from, const std::string& to, net::Done<void> done) {
  const auto effect = [this, from, to]() -> Result<void> {
    Result<std::shared_ptr<DiskFile>> file = find(from);
    if (!file) return fail(std::move(file).error());
    if (Result<void> plain = check_name(to); !plain) return plain;
    if (files_.contains(to)) return fail(ErrorKind::exists, to + ": is there already");
    files_.erase(from);
    files_[to] = *file;
    return {};
  };
  run<void>(DiskOp::names, 0, Partly::on_crash, effect, std::move(done));
}

void SimDirectory::remove(const std::string& name, net::Done<void> done) {
  const auto effect = [this, name]() -> Result<void> {
    Result<std::shared_ptr<DiskFile>> file = find(name);
    if (!file) return fail(std::move(file).error());
    files_.erase(name);
    return {};
  };
  run<void>(DiskOp::names, 0, Partly::on_crash, effect, std::move(done));
}

void SimDirectory::create_device(const std::string& name, std::uint64_t size,
                                 net::Done<std::unique_ptr<store::BlockDevice>> done) {
  const auto effect = [this, name, size]() -> Result<std::unique_ptr<store::BlockDevice>> {
    if (Result<void> plain = check_name(name); !plain) return fail(std::move(plain).error());
    if (files_.contains(name)) return fail(ErrorKind::exists, name + ": is there already");
    files_[name] = disk_.make_file(size);
    return std::make_unique<SimDevice>(disk_, files_[name], group_, false);
  };
  run<std::unique_ptr<store::BlockDevice>>(DiskOp::names, 0, Partly::on_crash, effect, std::move(done));
}

void SimDirectory::open_device(const std::string& name, bool read_only, net::Done<std::unique_ptr<store::BlockDevice>> done) {
  const auto effect = [this, name, read_only]() -> Result<std::unique_ptr<store::BlockDevice>> {
    Result<std::shared_ptr<DiskFile>> file = find(name);
    if (!file) return fail(std::move(file).error());
    return std::make_unique<SimDevice>(disk_, *file, group_, read_only);
  };
  run<std::unique_ptr<store::BlockDevice>>(DiskOp::names, 0, Partly::never, effect, std::move(done));
}

}  // namespace godwit::sim
