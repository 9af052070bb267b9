// The stationary array: PE (i, j) keeps a value from the top, rows of operands stream in from the left, and
// partial sums flow down and leave at the bottom. Weights are double-buffered: while one set multiplies, the
// next one moves down to its places, and each PE takes it over with the first operand that wants it.
//
// Row i of the left edge is delayed i cycles, column j of the top edge j cycles.
module array_stationary #(
    parameter int ROWS = 4,
    parameter int COLS = 4,
    parameter int LEFT_BITS = 8,
    parameter int TOP_BITS = 8,
    parameter int PSUM_BITS = 32,
    parameter int ADDRESS_BITS = 16,
    parameter bit SATURATE = 0
) (
    input logic clk,
    input logic reset,
    input logic enable,  // stands still otherwise
    input logic top_valid,
    input logic [15:0] top_descend,  // rows that it passes before its own
    input logic signed [TOP_BITS-1:0] top[COLS],
    input logic left_valid,
    input logic left_first,
    input logic left_last,
    input logic [ADDRESS_BITS-1:0] left_address,  // where its sums go
    input logic signed [LEFT_BITS-1:0] left[ROWS],
    output logic out_valid[COLS],
    output logic [ADDRESS_BITS-1:0] out_address[COLS],
    output logic signed [PSUM_BITS-1:0] out[COLS],
    output logic done  // the last sum of a fold is in its register
);
  localparam int TAGS = ROWS + COLS - 1;

  typedef struct packed {
    logic valid;
    logic first;
    logic signed [LEFT_BITS-1:0] value;
  } operand_t;

  typedef struct packed {
    logic valid;
    logic first;
  } mark_t;

  typedef struct packed {
    logic valid;
    logic [15:0] descend;
    logic signed [TOP_BITS-1:0] value;
  } kept_t;

  typedef struct packed {
    logic valid;
    logic last;
    logic [ADDRESS_BITS-1:0] address;
  } tag_t;

  operand_t left_skew[ROWS][ROWS];
  kept_t top_skew[COLS][COLS];
  operand_t operand[ROWS][COLS];
  mark_t across[ROWS][COLS];  // beside the value that the PE passes on
  kept_t kept[ROWS][COLS];
  logic signed [TOP_BITS-1:0] weight[ROWS][COLS];
  logic signed [LEFT_BITS-1:0] passed[ROWS][COLS];
  kept_t down[ROWS][COLS];
  logic signed [TOP_BITS-1:0] pending[ROWS][COLS];
  logic signed [TOP_BITS-1:0] held[ROWS][COLS];
  logic signed [PSUM_BITS-1:0] psum[ROWS][COLS];
  tag_t tags[TAGS];

  for (genvar i = 0; i < ROWS; i++) begin : row
    for (genvar j = 0; j < COLS; j++) begin : column
      if (j > 0) assign operand[i][j] = '{across[i][j-1].valid, across[i][j-1].first, passed[i][j-1]};
      else if (i > 0) assign operand[i][j] = left_skew[i][i-1];
      else assign operand[i][j] = '{left_valid, left_first, left[0]};
      if (i > 0) assign kept[i][j] = down[i-1][j];
      else if (j > 0) assign kept[i][j] = top_skew[j][j-1];
      else assign kept[i][j] = '{top_valid, top_descend, top[0]};
      assign weight[i][j] = operand[i][j].valid && operand[i][j].first ? pending[i][j] : held[i][j];
      pe #(
          .LEFT_BITS(LEFT_BITS), .TOP_BITS(TOP_BITS), .PSUM_BITS(PSUM_BITS), .SATURATE(SATURATE)
      ) cell_ij (
          .clk(clk), .enable(enable), .value(operand[i][j].value), .weight(weight[i][j]),
          .above(i > 0 ? psum[i > 0 ? i - 1 : 0][j] : '0),
          .passed(passed[i][j]), .held(held[i][j]), .sum(psum[i][j])
      );
    end
  end

  always_ff @(posedge clk) if (enable) begin
    for (int i = 0; i < ROWS; i++) begin
      for (int d = i; d > 0; d--) left_skew[i][d] <= left_skew[i][d-1];
      left_skew[i][0] <= '{left_valid, left_first, left[i]};
    end
    for (int j = 0; j < COLS; j++) begin
      for (int d = j; d > 0; d--) top_skew[j][d] <= top_skew[j][d-1];
      top_skew[j][0] <= '{top_valid, top_descend, top[j]};
    end
    for (int i = 0; i < ROWS; i++) begin
      for (int j = 0; j < COLS; j++) begin
        across[i][j] <= '{operand[i][j].valid, operand[i][j].first};
        if (kept[i][j].valid && kept[i][j].descend == 0) pending[i][j] <= kept[i][j].value;
        down[i][j] <= '{
            kept[i][j].valid && kept[i][j].descend != 0, kept[i][j].descend - 16'd1, kept[i][j].value
        };
        if (reset) begin
          across[i][j].valid <= 0;
          down[i][j].valid <= 0;
        end
      end
    end
    tags[0] <= '{left_valid, left_last, left_address};
    for (int t = 1; t < TAGS; t++) tags[t] <= tags[t-1];
    if (reset) begin
      for (int t = 0; t < TAGS; t++) tags[t] <= '0;
      for (int i = 0; i < ROWS; i++) for (int d = 0; d <= i; d++) left_skew[i][d] <= '0;
      for (int j = 0; j < COLS; j++) for (int d = 0; d <= j; d++) top_skew[j][d] <= '0;
    end
  end

  always_comb begin
    for (int j = 0; j < COLS; j++) begin
      out_valid[j] = tags[ROWS-1+j].valid;
      out_address[j] = tags[ROWS-1+j].address;
      out[j] = psum[ROWS-1][j];
    end
    done = tags[TAGS-1].valid && tags[TAGS-1].last;
  end
endmodule
