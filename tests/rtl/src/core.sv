// An array with the memories around it and the sequencer that plays a list of folds. A fold names its operands
// and its row of sums; when to load, to stream and to wait is decided here.
`include "narrow.svh"

module core #(
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int LEFT_BITS = 8,
    parameter int TOP_BITS = 8,
    parameter int PSUM_BITS = 32,
    parameter int ACCUMULATOR_BITS = 32,
    parameter bit SATURATE = 0,
    parameter int LANES = 4,  // of the write port: the larger of ROWS and COLS, at least 4
    parameter int ADDRESS_BITS = 16
) (
    input logic clk,
    input logic reset,
    // One row of a memory, written when nothing runs.
    input logic [2:0] write,
    input logic [ADDRESS_BITS-1:0] write_address,
    input logic signed [63:0] write_row[LANES],
    // Runs while `run` is high, from the cycle behind `reset` on.
    input logic run,
    input logic output_stationary,
    input logic pipelined,  // serial otherwise
    input logic [ADDRESS_BITS-1:0] folds,
    output logic stream_first,
    output logic stream_last,
    output logic fold_done,
    output logic conflict,
    // One row of accumulators and the codes that the output stage makes of it.
    input logic [ADDRESS_BITS-1:0] read_address,
    input logic [ADDRESS_BITS-1:0] read_channels,
    input logic signed [31:0] zero_point,
    input logic signed [31:0] clamp_min,
    input logic signed [31:0] clamp_max,
    output logic signed [63:0] sums[COLS],
    output logic signed [31:0] codes[COLS]
);
  localparam int DEPTH = 1 << ADDRESS_BITS;
  localparam int WIDE = (PSUM_BITS > ACCUMULATOR_BITS ? PSUM_BITS : ACCUMULATOR_BITS) + 1;
  `NARROW(narrow, WIDE, ACCUMULATOR_BITS, SATURATE)
  `NARROW(narrow_written, 65, ACCUMULATOR_BITS, SATURATE)

  typedef logic [ADDRESS_BITS-1:0] address_t;

  localparam logic [2:0] LEFT = 1, TOP = 2, ACCUMULATORS = 3, FOLDS = 4, MULTIPLIERS = 5, SHIFTS = 6;

  logic signed [LEFT_BITS-1:0] left_memory[DEPTH][ROWS];
  logic signed [TOP_BITS-1:0] top_memory[DEPTH][COLS];
  logic signed [ACCUMULATOR_BITS-1:0] accumulators[DEPTH][COLS];
  logic signed [31:0] multipliers[DEPTH][COLS];
  logic signed [7:0] shifts[DEPTH][COLS];
  // Of a fold: its rows of the left memory, how many, its rows of the top memory, its first row of sums.
  address_t fold_left[DEPTH], fold_steps[DEPTH], fold_top[DEPTH], fold_sums[DEPTH];

  // --- the sequencer ---------------------------------------------------------------------------------------

  address_t loads, streams, finished;  // how many have begun, begun, and been summed
  address_t load_left, steps_left;  // rows still to come of what is under way
  logic signed [31:0] now, last_end;  // cycles: this one, and the one of the last fold's last operand

  logic idle, load_begins, loading, stream_begins, streaming, array_done;
  address_t streams_now, finished_now, load_at, stream_at;
  logic signed [31:0] ends;
  address_t step, descend;

  always_comb begin
    finished_now = finished + address_t'(array_done);
    idle = finished_now == streams;
    stream_begins = run && steps_left == 0 && streams < folds;
    ends = now + 32'(fold_steps[streams]) - 1;
    if (output_stationary) begin
      // Sums of two folds may not meet on a column's bus.
      if (streams > 0 && ends < last_end + ROWS) stream_begins = 0;
      if (!pipelined && !idle) stream_begins = 0;
    end else begin
      if (load_left != 0 || loads == streams) stream_begins = 0;
    end
    streams_now = streams + address_t'(stream_begins);
    // The registers for the next values are free once the values before are taken over.
    load_begins = run && !output_stationary && load_left == 0 && loads < folds && loads == streams_now;
    if (!pipelined && finished_now != loads) load_begins = 0;
    loading = load_begins || load_left != 0;
    streaming = stream_begins || steps_left != 0;
    load_at = load_begins ? loads : loads - 1;
    stream_at = stream_begins ? streams : streams - 1;
    descend = load_begins ? address_t'(ROWS - 1) : load_left - 1;  // the lowest row first
    step = stream_begins ? '0 : fold_steps[stream_at] - steps_left;
    stream_first = stream_begins;
    stream_last = streaming && step == fold_steps[stream_at] - 1;
    fold_done = array_done;
  end

  always_ff @(posedge clk) begin
    now <= now + 1;
    if (load_begins) loads <= loads + 1;
    if (loading) load_left <= descend;
    streams <= streams_now;
    if (streaming) steps_left <= fold_steps[stream_at] - step - 1;
    if (stream_begins) last_end <= ends;
    finished <= finished_now;
    if (reset) begin
      now <= 0;
      last_end <= 0;
      loads <= 0;
      streams <= 0;
      finished <= 0;
      load_left <= 0;
      steps_left <= 0;
    end
  end

  // --- the arrays ------------------------------------------------------------------------------------------

  logic signed [LEFT_BITS-1:0] left[ROWS];
  logic signed [TOP_BITS-1:0] kept[COLS], top[COLS];
  logic valid_kept[COLS], valid_output[COLS], done_kept, done_output;
  address_t address_kept[COLS], address_output[COLS];
  logic signed [PSUM_BITS-1:0] sums_kept[COLS], sums_output[COLS];

  always_comb begin
    for (int i = 0; i < ROWS; i++) left[i] = left_memory[fold_left[stream_at]+step][i];
    for (int j = 0; j < COLS; j++) begin
      kept[j] = top_memory[fold_top[load_at]+descend][j];
      top[j] = top_memory[fold_top[stream_at]+step][j];
    end
    array_done = output_stationary ? done_output : done_kept;
  end

  array_stationary #(
      .ROWS(ROWS), .COLS(COLS), .LEFT_BITS(LEFT_BITS), .TOP_BITS(TOP_BITS), .PSUM_BITS(PSUM_BITS),
      .ADDRESS_BITS(ADDRESS_BITS), .SATURATE(SATURATE)
  ) stationary (
      .clk, .reset, .enable(reset || run), .top_valid(loading), .top_descend(16'(descend)), .top(kept),
      .left_valid(streaming && !output_stationary), .left_first(stream_first), .left_last(stream_last),
      .left_address(fold_sums[stream_at] + step), .left, .out_valid(valid_kept),
      .out_address(address_kept), .out(sums_kept), .done(done_kept)
  );

  array_output #(
      .ROWS(ROWS), .COLS(COLS), .LEFT_BITS(LEFT_BITS), .TOP_BITS(TOP_BITS), .PSUM_BITS(PSUM_BITS),
      .ADDRESS_BITS(ADDRESS_BITS), .SATURATE(SATURATE)
  ) outputs (
      .clk, .reset, .enable(reset || run), .valid(streaming && output_stationary), .first(stream_first), .last(stream_last),
      .address(fold_sums[stream_at]), .left, .top, .out_valid(valid_output),
      .out_address(address_output), .out(sums_output), .done(done_output), .conflict
  );

  // --- the memories ----------------------------------------------------------------------------------------

  always_ff @(posedge clk) begin
    for (int j = 0; j < COLS; j++) begin
      if (output_stationary && valid_output[j]) begin
        accumulators[address_output[j]][j]
            <= narrow(WIDE'(accumulators[address_output[j]][j]) + WIDE'(sums_output[j]));
      end else if (!output_stationary && valid_kept[j]) begin
        accumulators[address_kept[j]][j]
            <= narrow(WIDE'(accumulators[address_kept[j]][j]) + WIDE'(sums_kept[j]));
      end
      if (write == TOP) top_memory[write_address][j] <= write_row[j][TOP_BITS-1:0];
      if (write == ACCUMULATORS) accumulators[write_address][j] <= narrow_written(65'(write_row[j]));
      if (write == MULTIPLIERS) multipliers[write_address][j] <= write_row[j][31:0];
      if (write == SHIFTS) shifts[write_address][j] <= write_row[j][7:0];
    end
    for (int i = 0; i < ROWS; i++)
      if (write == LEFT) left_memory[write_address][i] <= write_row[i][LEFT_BITS-1:0];
    if (write == FOLDS) begin
      fold_left[write_address] <= write_row[0][ADDRESS_BITS-1:0];
      fold_steps[write_address] <= write_row[1][ADDRESS_BITS-1:0];
      fold_top[write_address] <= write_row[2][ADDRESS_BITS-1:0];
      fold_sums[write_address] <= write_row[3][ADDRESS_BITS-1:0];
    end
  end

  // --- the output stage ------------------------------------------------------------------------------------

  for (genvar j = 0; j < COLS; j++) begin : g_lane
    assign sums[j] = 64'(accumulators[read_address][j]);
    requantizer #(
        .ACCUMULATOR_BITS(ACCUMULATOR_BITS)
    ) lane (
        .total(accumulators[read_address][j]), .multiplier(multipliers[read_channels][j]),
        .shift(shifts[read_channels][j]), .zero_point, .clamp_min, .clamp_max, .code(codes[j])
    );
  end
endmodule
