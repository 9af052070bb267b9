// The output-stationary array: PE (i, j) keeps a sum; operands stream in from the left and from the top. A PE
// that has added its last product puts the sum on the bus of its column, which has room for one a cycle.
//
// Row i of the left edge is delayed i cycles, column j of the top edge j cycles.
`include "narrow.svh"

module array_output #(
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
    input logic valid,
    input logic first,
    input logic last,
    input logic [ADDRESS_BITS-1:0] address,  // of the fold's first row of sums
    input logic signed [LEFT_BITS-1:0] left[ROWS],
    input logic signed [TOP_BITS-1:0] top[COLS],
    output logic out_valid[COLS],
    output logic [ADDRESS_BITS-1:0] out_address[COLS],
    output logic signed [PSUM_BITS-1:0] out[COLS],
    output logic done,  // the last sum of a fold is in its register
    output logic conflict  // two sums on one bus
);
  localparam int PRODUCT_BITS = LEFT_BITS + TOP_BITS;
  localparam int WIDE = (PRODUCT_BITS > PSUM_BITS ? PRODUCT_BITS : PSUM_BITS) + 1;
  localparam int TAGS = ROWS + COLS - 1;
  `NARROW(narrow, WIDE, PSUM_BITS, SATURATE)

  typedef struct packed {
    logic first;
    logic signed [LEFT_BITS-1:0] value;
  } operand_t;

  typedef struct packed {
    logic valid;
    logic last;
    logic [ADDRESS_BITS-1:0] address;
  } tag_t;

  operand_t left_skew[ROWS][ROWS];
  logic signed [TOP_BITS-1:0] top_skew[COLS][COLS];
  operand_t across[ROWS][COLS];
  logic signed [TOP_BITS-1:0] down[ROWS][COLS];
  logic signed [PSUM_BITS-1:0] psum[ROWS][COLS];
  tag_t tags[TAGS];

  always_ff @(posedge clk) if (enable) begin
    for (int i = 0; i < ROWS; i++) begin
      for (int d = i; d > 0; d--) left_skew[i][d] <= left_skew[i][d-1];
      left_skew[i][0] <= '{valid && first, valid ? left[i] : '0};
    end
    for (int j = 0; j < COLS; j++) begin
      for (int d = j; d > 0; d--) top_skew[j][d] <= top_skew[j][d-1];
      top_skew[j][0] <= top[j];
    end
    for (int i = 0; i < ROWS; i++) begin
      for (int j = 0; j < COLS; j++) begin
        operand_t operand;
        logic signed [TOP_BITS-1:0] above;
        logic signed [PSUM_BITS-1:0] sum;
        if (j > 0) operand = across[i][j-1];
        else if (i > 0) operand = left_skew[i][i-1];
        else operand = '{valid && first, valid ? left[0] : '0};
        if (i > 0) above = down[i-1][j];
        else if (j > 0) above = top_skew[j][j-1];
        else above = top[0];
        sum = operand.first ? '0 : psum[i][j];
        across[i][j] <= operand;
        down[i][j] <= above;
        psum[i][j] <= narrow(WIDE'(sum) + WIDE'(operand.value) * WIDE'(above));
        if (reset) across[i][j] <= '0;
      end
    end
    tags[0] <= '{valid, last, address};
    for (int t = 1; t < TAGS; t++) tags[t] <= tags[t-1];
    if (reset) begin
      for (int t = 0; t < TAGS; t++) tags[t] <= '0;
      for (int i = 0; i < ROWS; i++) for (int d = 0; d <= i; d++) left_skew[i][d] <= '0;
    end
  end

  always_comb begin
    conflict = 0;
    for (int j = 0; j < COLS; j++) begin
      out_valid[j] = 0;
      out_address[j] = '0;
      out[j] = '0;
      for (int i = 0; i < ROWS; i++) begin
        if (tags[i+j].valid && tags[i+j].last) begin
          conflict |= out_valid[j];
          out_valid[j] = 1;
          out_address[j] |= tags[i+j].address + ADDRESS_BITS'(i);
          out[j] |= psum[i][j];
        end
      end
    end
    done = tags[TAGS-1].valid && tags[TAGS-1].last;
  end
endmodule
