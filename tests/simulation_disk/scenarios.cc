// The scripts whose every call of the file system is a place to crash and to fail.
#include <fmt/format.h>

#include "world.h"

namespace lamina::simulation {

namespace {

using Writes = World::Writes;

ScenarioOptions Plain() { return {SmallOptions(), false}; }
template <typename Change>
std::function<ScenarioOptions()> With(Change change) {
  return [change] {
    ScenarioOptions options = Plain();
    change(&options);
    return options;
  };
}
std::function<ScenarioOptions()> WithSync(SyncPolicy sync) {
  return With([sync](ScenarioOptions* o) { o->database.sync = sync; });
}

ValidInterval Between(int64_t from, int64_t to) { return {{from}, {to}}; }
ValidInterval From(int64_t from) { return {{from}, ValidTime::Max()}; }

// Some corrections of a few keys: overlaps, deletes, several rows a statement.
Status Churn(World& w, const std::string& table, int first, int count) {
  for (int i = first; i < first + count; ++i) {
    const int64_t a = i % 5, b = (i * 3 + 1) % 5;
    switch (i % 4) {
      case 0:
        ARROW_RETURN_NOT_OK(
            w.Put(table, {{a, fmt::format("n{}", i)}, {b + 5, fmt::format("m{}", i)}}));
        break;
      case 1:
        ARROW_RETURN_NOT_OK(w.Put(table, {{a, fmt::format("n{}", i)}}, Between(i, i + 20)));
        break;
      case 2:
        ARROW_RETURN_NOT_OK(w.Delete(table, {{b, ""}}, From(i + 3)));
        break;
      default:
        ARROW_RETURN_NOT_OK(
            w.Commit(Writes()
                         .Put(table, {{a, fmt::format("x{}", i)}}, Between(0, i + 1))
                         .Delete(table, {{b, ""}}, Between(2, 4))
                         .PutDocument(fmt::format("d{}", a), fmt::format("doc {}", i))));
    }
  }
  return Status::OK();
}

Status Begin(World& w, const std::string& table = "t") {
  ARROW_RETURN_NOT_OK(w.Open());
  return w.CreateTable(table);
}

std::vector<Scenario> Make() {
  std::vector<Scenario> out;
  const auto add = [&](const char* name, std::function<ScenarioOptions()> options,
                       std::function<Status(World&)> script) {
    out.push_back({name, std::move(options), std::move(script)});
  };

  add("puts-always", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 40));
    return w.Close();
  });
  add("puts-interval", WithSync(SyncPolicy::kInterval), [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 10; ++i) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", i * 5, 5));
      if (i % 2 == 0) ARROW_RETURN_NOT_OK(w.Background());
    }
    TransactionOptions durable;
    durable.durable = true;
    ARROW_RETURN_NOT_OK(w.Commit(Writes().PutDocument("important", "now"), durable));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 50, 5));
    return w.Close();
  });
  add("puts-off", WithSync(SyncPolicy::kOff), [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 25));
    ARROW_RETURN_NOT_OK(w.Sync());
    ARROW_RETURN_NOT_OK(Churn(w, "t", 25, 15));
    ARROW_RETURN_NOT_OK(w.Flush());
    ARROW_RETURN_NOT_OK(Churn(w, "t", 40, 10));
    return w.Close();
  });
  add("flush", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 4; ++i) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", i * 6, 6));
      ARROW_RETURN_NOT_OK(w.Flush());
    }
    ARROW_RETURN_NOT_OK(Churn(w, "t", 24, 3));
    return w.Read();
  });
  add("flush-in-the-background", With([](ScenarioOptions* o) {
        o->database.auto_flush = true;
        o->database.auto_compact = true;
        o->database.memtable_rows = 8;
        o->database.max_sealed_memtables = 4;
      }),
      [](World& w) -> Status {
        ARROW_RETURN_NOT_OK(Begin(w));
        for (int i = 0; i < 4; ++i) {
          ARROW_RETURN_NOT_OK(Churn(w, "t", i * 5, 5));
          ARROW_RETURN_NOT_OK(w.Background());
        }
        return w.Read();
      });
  add("flush-at-once", With([](ScenarioOptions* o) {
        o->database.auto_flush = true;
        o->database.auto_compact = true;
        o->database.memtable_rows = 10;
        o->inline_executor = true;
      }),
      [](World& w) -> Status {
        ARROW_RETURN_NOT_OK(Begin(w));
        ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 16));
        return w.Close();
      });
  add("backpressure", With([](ScenarioOptions* o) {
        o->database.auto_flush = true;
        o->database.memtable_rows = 3;
        o->database.max_sealed_memtables = 2;
      }),
      [](World& w) -> Status {
        ARROW_RETURN_NOT_OK(Begin(w));
        // Nothing runs in the background: the commits themselves flush.
        return Churn(w, "t", 0, 14);
      });
  add("compaction", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 3; ++i) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", i * 7, 7));
      ARROW_RETURN_NOT_OK(w.Flush());
    }
    ARROW_RETURN_NOT_OK(Churn(w, "t", 21, 4));
    ARROW_RETURN_NOT_OK(w.Compact());
    ARROW_RETURN_NOT_OK(Churn(w, "t", 25, 3));
    return w.Read();
  });
  add("garbage", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 2; ++i) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", i * 7, 7));
      ARROW_RETURN_NOT_OK(w.Flush());
      ARROW_RETURN_NOT_OK(w.Compact());
      ARROW_RETURN_NOT_OK(w.CollectGarbage());
    }
    ARROW_RETURN_NOT_OK(w.Reopen());
    return w.CollectGarbage();
  });
  add("garbage-after-a-crash", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 6));
    ARROW_RETURN_NOT_OK(w.Flush());
    ARROW_RETURN_NOT_OK(Churn(w, "t", 6, 6));
    ARROW_RETURN_NOT_OK(w.CrashAndReopen(SimDamage::kReorder));
    ARROW_RETURN_NOT_OK(w.CollectGarbage());
    ARROW_RETURN_NOT_OK(w.Compact());
    ARROW_RETURN_NOT_OK(w.CollectGarbage());
    return w.Read();
  });
  add("erase-in-memory", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 8));
    ARROW_RETURN_NOT_OK(w.EraseKey("t", 1));
    ARROW_RETURN_NOT_OK(w.Put("t", {{1, "again"}}));
    return w.Read();
  });
  add("erase-at-rest", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 8));
    ARROW_RETURN_NOT_OK(w.Flush());
    ARROW_RETURN_NOT_OK(Churn(w, "t", 8, 6));
    ARROW_RETURN_NOT_OK(w.Flush());
    ARROW_RETURN_NOT_OK(w.EraseKey("t", 2));
    return w.Read();
  });
  add("erase-documents", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(w.Open());
    for (int i = 0; i < 6; ++i)
      ARROW_RETURN_NOT_OK(w.PutDocument(fmt::format("k{}", i % 3), fmt::format("v{}", i), From(i)));
    ARROW_RETURN_NOT_OK(w.Flush());
    ARROW_RETURN_NOT_OK(w.EraseDocument("k1"));
    ARROW_RETURN_NOT_OK(w.PutDocument("k1", "new life"));
    return w.EraseDocument("k0");
  });
  add("trim", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 8));
    ARROW_RETURN_NOT_OK(w.TrimHistory("t", 3));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 8, 6));
    ARROW_RETURN_NOT_OK(w.TrimHistory("t", 9));
    ARROW_RETURN_NOT_OK(w.Compact());
    ARROW_RETURN_NOT_OK(w.CollectGarbage());
    return w.Read();
  });
  add("schema", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(w.Put("t", {{1, "one"}, {2, "two"}}));
    ARROW_RETURN_NOT_OK(w.AddColumn("t", {2, "extra", 'i'}));
    ARROW_RETURN_NOT_OK(w.Put("t", {{2, "deux"}, {3, "trois"}}, From(5)));
    ARROW_RETURN_NOT_OK(w.WidenColumn("t", "extra"));
    ARROW_RETURN_NOT_OK(w.Put("t", {{3, "drei"}}));
    ARROW_RETURN_NOT_OK(w.RenameColumn("t", "note", "remark"));
    ARROW_RETURN_NOT_OK(w.AddColumn("t", {3, "note", 's'}));
    ARROW_RETURN_NOT_OK(w.Put("t", {{4, "vier"}}));
    ARROW_RETURN_NOT_OK(w.DropColumn("t", "extra"));
    ARROW_RETURN_NOT_OK(w.Put("t", {{4, "four"}}, From(7)));
    ARROW_RETURN_NOT_OK(w.Compact());
    return w.Read();
  });
  add("tables-in-a-commit", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(w.Put("t", {{1, "one"}, {2, "two"}}));
    ARROW_RETURN_NOT_OK(w.Commit(Writes()
                                     .Put("t", {{3, "three"}})
                                     .CreateTable("u")
                                     .Put("u", {{1, "in u"}, {2, "in u too"}}, From(4))
                                     .PutDocument("d", "with u")));
    ARROW_RETURN_NOT_OK(w.Put("u", {{3, "after"}}));
    // Facts of before in memory, of the transaction before and behind the change.
    ARROW_RETURN_NOT_OK(w.Commit(Writes()
                                     .Put("t", {{2, "deux"}}, Between(2, 9))
                                     .AddColumn("t", {2, "extra", 'i'})
                                     .Put("t", {{4, "quatre"}, {1, "un"}}, From(5))
                                     .RenameColumn("t", "note", "remark")
                                     .Delete("t", {{3, ""}})));
    ARROW_RETURN_NOT_OK(w.Put("t", {{5, "cinq"}}));
    ARROW_RETURN_NOT_OK(w.Flush());
    ARROW_RETURN_NOT_OK(w.Commit(Writes()
                                     .DropTable("u")
                                     .RenameTable("t", "u")
                                     .CreateTable("t", /*keyed=*/false)
                                     .Put("t", {{7, "new t"}})));
    ARROW_RETURN_NOT_OK(w.Put("t", {{8, "more"}}));
    ARROW_RETURN_NOT_OK(w.Commit(Writes().CreateTable("empty")));
    ARROW_RETURN_NOT_OK(w.Compact());
    ARROW_RETURN_NOT_OK(w.CollectGarbage());
    return w.Read();
  });
  add("tables", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w, "a"));
    ARROW_RETURN_NOT_OK(w.CreateTable("b"));
    ARROW_RETURN_NOT_OK(w.Put("a", {{1, "in a"}}));
    ARROW_RETURN_NOT_OK(w.Put("b", {{1, "in b"}}));
    ARROW_RETURN_NOT_OK(w.DropTable("a"));
    ARROW_RETURN_NOT_OK(w.RenameTable("b", "a"));
    ARROW_RETURN_NOT_OK(w.Put("a", {{2, "was b"}}));
    ARROW_RETURN_NOT_OK(w.Flush());
    ARROW_RETURN_NOT_OK(w.DropTable("a"));
    ARROW_RETURN_NOT_OK(w.CreateTable("a"));
    ARROW_RETURN_NOT_OK(w.Put("a", {{3, "new a"}}));
    ARROW_RETURN_NOT_OK(w.CollectGarbage());
    return w.Reopen();
  });
  add("checkpoints", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 4));
    ARROW_RETURN_NOT_OK(w.CreateCheckpoint("first"));
    ARROW_RETURN_NOT_OK(Churn(w, "t", 4, 4));
    ARROW_RETURN_NOT_OK(w.CreateCheckpoint("second"));
    ARROW_RETURN_NOT_OK(w.DropCheckpoint("first"));
    ARROW_RETURN_NOT_OK(w.TrimHistory("t", 5));
    return w.Read();
  });
  add("several-tables-a-commit", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w, "a"));
    ARROW_RETURN_NOT_OK(w.CreateTable("b"));
    ARROW_RETURN_NOT_OK(w.CreateTable("c", /*keyed=*/false));
    for (int i = 0; i < 12; ++i) {
      ARROW_RETURN_NOT_OK(
          w.Commit(Writes()
                       .Put("a", {{i % 3, fmt::format("a{}", i)}})
                       .Put("b", {{i % 4, fmt::format("b{}", i)}}, From(i))
                       .Put("c", {{i, fmt::format("c{}", i)}})
                       .PutDocument(fmt::format("k{}", i % 2), fmt::format("{}", i))));
      if (i == 7) ARROW_RETURN_NOT_OK(w.Flush());
    }
    ARROW_RETURN_NOT_OK(w.Flush());
    return w.Read();
  });
  add("documents", WithSync(SyncPolicy::kInterval), [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(w.Open());
    for (int i = 0; i < 30; ++i) {
      const std::string key = fmt::format("k{}", i % 4);
      ARROW_RETURN_NOT_OK(i % 5 == 4
                              ? w.DeleteDocument(key, Between(i, i + 9))
                              : w.PutDocument(key, fmt::format("v{}", i), Between(i, i + 25)));
      if (i % 10 == 9) ARROW_RETURN_NOT_OK(w.Flush());
      if (i % 7 == 6) ARROW_RETURN_NOT_OK(w.Background());
    }
    ARROW_RETURN_NOT_OK(w.Compact());
    return w.Read();
  });
  add("big-values", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 6; ++i) {
      const auto letter = static_cast<char>('a' + i);
      ARROW_RETURN_NOT_OK(
          w.PutDocument("big", std::string(static_cast<size_t>(3000 + i * 1111), letter)));
      ARROW_RETURN_NOT_OK(
          w.Put("t", {{i % 2, std::string(static_cast<size_t>(700 * i + 1), letter)}}));
      if (i == 3) ARROW_RETURN_NOT_OK(w.Flush());
    }
    ARROW_RETURN_NOT_OK(w.CrashAndReopen(SimDamage::kTear));
    ARROW_RETURN_NOT_OK(w.Flush());
    return w.Read();
  });
  add("log-rotation", With([](ScenarioOptions* o) { o->database.wal_segment_bytes = 600; }),
      [](World& w) -> Status {
        ARROW_RETURN_NOT_OK(Begin(w));
        ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 20));
        ARROW_RETURN_NOT_OK(w.Flush());
        ARROW_RETURN_NOT_OK(Churn(w, "t", 20, 8));
        return w.Reopen();
      });
  add("log-rotation-unsynced", With([](ScenarioOptions* o) {
        o->database.wal_segment_bytes =
            3000;  // several commits, of which a crash may keep later ones
        o->database.sync = SyncPolicy::kOff;
      }),
      [](World& w) -> Status {
        ARROW_RETURN_NOT_OK(Begin(w));
        ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 30));
        ARROW_RETURN_NOT_OK(w.Sync());
        ARROW_RETURN_NOT_OK(Churn(w, "t", 30, 10));
        return w.Close();
      });
  add("reopen", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 5; ++i) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", i * 3, 3));
      ARROW_RETURN_NOT_OK(w.Reopen());
    }
    ARROW_RETURN_NOT_OK(w.Flush());
    return w.Reopen();
  });
  add("crash-and-recover", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (const SimDamage damage : testing::kSimDamages) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", static_cast<int>(w.commit_count()), 4));
      ARROW_RETURN_NOT_OK(w.CrashAndReopen(damage));
    }
    return w.Read();
  });
  add("crash-and-recover-unsynced", WithSync(SyncPolicy::kOff), [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (const SimDamage damage : testing::kSimDamages) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", static_cast<int>(w.commit_count()), 3));
      ARROW_RETURN_NOT_OK(w.Sync());
      ARROW_RETURN_NOT_OK(Churn(w, "t", static_cast<int>(w.commit_count()), 3));
      ARROW_RETURN_NOT_OK(w.CrashAndReopen(damage));
    }
    return w.Read();
  });
  add("idempotency", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 12; ++i) {
      TransactionOptions options;
      options.idempotency_key = fmt::format("request-{}", i);
      ARROW_RETURN_NOT_OK(w.Commit(Writes().Put("t", {{i % 3, fmt::format("r{}", i)}}), options));
      if (i == 4 || i == 8) ARROW_RETURN_NOT_OK(w.Flush());
      if (i == 6) ARROW_RETURN_NOT_OK(w.Reopen());
    }
    return w.Compact();
  });
  add("history-replay", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 14; ++i) {
      TransactionOptions options;
      options.system_time = SystemTime{1'000'000'000'000'000 + i * 1'000'000'000LL};
      ARROW_RETURN_NOT_OK(
          w.Commit(Writes().Put("t", {{i % 4, fmt::format("h{}", i)}}, From(i * 10)), options));
      if (i % 6 == 5) ARROW_RETURN_NOT_OK(w.Flush());
    }
    ARROW_RETURN_NOT_OK(Churn(w, "t", 0, 3));
    return w.Reopen();
  });
  add("append-table", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(w.Open());
    ARROW_RETURN_NOT_OK(w.CreateTable("log", /*keyed=*/false));
    for (int i = 0; i < 16; ++i) {
      ARROW_RETURN_NOT_OK(w.Put("log", {{2 * i, fmt::format("l{}", i)}, {2 * i + 1, "x"}}));
      if (i == 5 || i == 10 || i == 14) ARROW_RETURN_NOT_OK(w.Flush());
      // With rows in the log, and right after a flush.
      if (i == 8 || i == 12 || i == 14) ARROW_RETURN_NOT_OK(w.Reopen());
    }
    ARROW_RETURN_NOT_OK(w.Compact());
    return w.Read();
  });
  add("without-a-log", With([](ScenarioOptions* o) { o->database.wal = false; }),
      [](World& w) -> Status {
        ARROW_RETURN_NOT_OK(Begin(w));
        for (int i = 0; i < 3; ++i) {
          ARROW_RETURN_NOT_OK(Churn(w, "t", i * 5, 5));
          ARROW_RETURN_NOT_OK(w.Flush());
        }
        ARROW_RETURN_NOT_OK(Churn(w, "t", 15, 3));
        return w.Reopen();
      });
  add("clock-jumps", Plain, [](World& w) -> Status {
    constexpr int64_t kTenYears = 10LL * 365 * 86'400 * 1'000'000;
    ARROW_RETURN_NOT_OK(Begin(w));
    for (int i = 0; i < 6; ++i) {
      ARROW_RETURN_NOT_OK(Churn(w, "t", i * 3, 3));
      w.clock().Set(w.clock().NowMicros() + (i % 2 == 0 ? -kTenYears : kTenYears / 2));
      if (i % 3 == 1) ARROW_RETURN_NOT_OK(w.Flush());
      if (i % 3 == 2) ARROW_RETURN_NOT_OK(w.Reopen());
    }
    ARROW_RETURN_NOT_OK(w.Compact());
    ARROW_RETURN_NOT_OK(w.CollectGarbage());
    return w.Read();
  });
  add("a-new-manifest-base", Plain, [](World& w) -> Status {
    ARROW_RETURN_NOT_OK(Begin(w));
    ARROW_RETURN_NOT_OK(w.Put("t", {{1, "one"}}));
    // More edits than a ref carries.
    for (int i = 0; i < 34; ++i) {
      ARROW_RETURN_NOT_OK(w.CreateCheckpoint("c"));
      ARROW_RETURN_NOT_OK(w.DropCheckpoint("c"));
    }
    ARROW_RETURN_NOT_OK(w.Put("t", {{2, "two"}}));
    ARROW_RETURN_NOT_OK(w.CollectGarbage());
    return w.Reopen();
  });
  add("deletes", With([](ScenarioOptions* o) {
        o->database.auto_compact = true;
        o->database.deleted_fraction = 0.1;
      }),
      [](World& w) -> Status {
        ARROW_RETURN_NOT_OK(Begin(w));
        Rows rows;
        for (int i = 0; i < 20; ++i) rows.push_back({i, fmt::format("r{}", i)});
        ARROW_RETURN_NOT_OK(w.Put("t", rows));
        ARROW_RETURN_NOT_OK(w.Flush());
        for (int i = 0; i < 4; ++i) {
          ARROW_RETURN_NOT_OK(w.Delete("t", {{i * 4, ""}, {i * 4 + 1, ""}}));
          ARROW_RETURN_NOT_OK(w.Put("t", {{i * 4 + 2, "over"}}, Between(i, i + 5)));
          ARROW_RETURN_NOT_OK(w.Flush());
          ARROW_RETURN_NOT_OK(w.Background());
        }
        return w.Read();
      });
  return out;
}

/// Anything, in any order; the seed is the scenario.
Scenario Random(const char* name, uint64_t seed) {
  const auto options = [seed] {
    base::Random random(seed);
    ScenarioOptions out = Plain();
    out.database.sync = random.OneIn(2)   ? SyncPolicy::kAlways
                        : random.OneIn(2) ? SyncPolicy::kInterval
                                          : SyncPolicy::kOff;
    out.database.memtable_rows = random.OneIn(2) ? 5 : 0;
    out.database.auto_flush = out.database.auto_compact = random.OneIn(2);
    if (out.database.auto_flush) out.database.max_sealed_memtables = 3;
    out.database.wal_segment_bytes = random.OneIn(2) ? 700 : 64 << 10;
    out.inline_executor = random.OneIn(3);
    if (seed % 2 == 0) out.database.last_codec = Codec::kZstd;
    return out;
  };
  return {name, options, [seed](World& w) -> Status {
            base::Random random(seed + 1);
            ARROW_RETURN_NOT_OK(Begin(w));
            ARROW_RETURN_NOT_OK(w.CreateTable("u", random.OneIn(2)));
            int made = 0;
            for (int step = 0; step < 26; ++step) {
              switch (random.Uniform(14)) {
                case 0:
                  ARROW_RETURN_NOT_OK(w.Flush());
                  break;
                case 1:
                  ARROW_RETURN_NOT_OK(w.Compact());
                  break;
                case 2:
                  ARROW_RETURN_NOT_OK(w.CollectGarbage());
                  break;
                case 3:
                  ARROW_RETURN_NOT_OK(w.Reopen());
                  break;
                case 4:
                  ARROW_RETURN_NOT_OK(w.CrashAndReopen(testing::kSimDamages[random.Uniform(4)]));
                  break;
                case 5:
                  ARROW_RETURN_NOT_OK(w.Background());
                  break;
                case 6:
                  ARROW_RETURN_NOT_OK(w.Sync());
                  break;
                case 7:
                  ARROW_RETURN_NOT_OK(w.EraseKey("t", static_cast<int64_t>(random.Uniform(5))));
                  break;
                case 8:
                  ARROW_RETURN_NOT_OK(w.Put("u", {{1000 + step, "u"}}));
                  break;
                default: {
                  const int n = 1 + static_cast<int>(random.Uniform(4));
                  ARROW_RETURN_NOT_OK(Churn(w, "t", made, n));
                  made += n;
                }
              }
            }
            return w.Read();
          }};
}

}  // namespace

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> scenarios = [] {
    std::vector<Scenario> out = Make();
    out.push_back(Random("random-1", 101));
    out.push_back(Random("random-2", 202));
    out.push_back(Random("random-3", 303));
    out.push_back(Random("random-4", 404));
    return out;
  }();
  return scenarios;
}

}  // namespace lamina::simulation
