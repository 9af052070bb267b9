// Drives the core: numbers of 64 bits in on standard input, numbers of 64 bits out on standard output.
//
//   1 rows {memory address LANES values}   write rows of memories
//   2 folds output_stationary pipelined    run: the cycles in which each fold's first and last operand go in,
//                                          and in which its last sum is there; 1 if two sums met on a bus
//   3 rows zero low high {address channels}  read rows: COLS sums, then COLS codes of each
#include <cstdint>
#include <cstdio>
#include <vector>

#include "Vcore.h"

namespace {

int64_t take() {
    int64_t value = 0;
    return std::fread(&value, sizeof value, 1, stdin) == 1 ? value : 0;
}

void give(int64_t value) { std::fwrite(&value, sizeof value, 1, stdout); }

class Driver {
   public:
    Driver() {
        core_.run = core_.reset = core_.write = core_.clk = 0;
        core_.eval();
    }

    void write_rows(int64_t rows) {
        while (rows-- > 0) {
            core_.write = take();
            core_.write_address = take();
            for (int lane = 0; lane < LANES; ++lane) core_.write_row[lane] = take();
            tick();
        }
        core_.write = 0;
    }

    void play(int64_t folds, bool output_stationary, bool pipelined) {
        core_.output_stationary = output_stationary;
        core_.pipelined = pipelined;
        core_.folds = folds;
        core_.reset = 1;
        tick();
        core_.reset = 0;
        core_.run = 1;
        std::vector<int64_t> first, last, done;
        bool conflict = false;
        for (int64_t cycle = 0; static_cast<int64_t>(done.size()) < folds; ++cycle) {
            core_.eval();
            if (core_.stream_first) first.push_back(cycle);
            if (core_.stream_last) last.push_back(cycle);
            if (core_.fold_done) done.push_back(cycle);
            conflict = conflict || (output_stationary && core_.conflict);
            tick();
        }
        core_.run = 0;
        tick();
        for (int64_t fold = 0; fold < folds; ++fold) {
            give(first[fold]);
            give(last[fold]);
            give(done[fold]);
        }
        give(conflict);
    }

    void read_rows(int64_t rows) {
        core_.zero_point = take();
        core_.clamp_min = take();
        core_.clamp_max = take();
        while (rows-- > 0) {
            core_.read_address = take();
            core_.read_channels = take();
            core_.eval();
            for (int lane = 0; lane < COLS; ++lane) give(static_cast<int64_t>(core_.sums[lane]));
            for (int lane = 0; lane < COLS; ++lane) give(static_cast<int32_t>(core_.codes[lane]));
        }
    }

   private:
    void tick() {
        core_.clk = 1;
        core_.eval();
        core_.clk = 0;
        core_.eval();
    }

    Vcore core_;
};

}  // namespace

int main() {
    Driver driver;
    for (int64_t order = take(); order != 0; order = take()) {
        const int64_t count = take();
        if (order == 1) {
            driver.write_rows(count);
        } else if (order == 2) {
            const bool output_stationary = take() != 0;
            driver.play(count, output_stationary, take() != 0);
        } else {
            driver.read_rows(count);
        }
        std::fflush(stdout);
    }
    return 0;
}
