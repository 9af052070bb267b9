// An accumulator as a code: a rounding doubling high multiplication, then a rounding shift to the right, ties
// away from zero, as gemmlowp defines both; offset and clamp.
module requantizer #(
    parameter int ACCUMULATOR_BITS = 32
) (
    input logic signed [ACCUMULATOR_BITS-1:0] total,
    input logic signed [31:0] multiplier,
    input logic signed [7:0] shift,  // to the left, or where it is negative to the right
    input logic signed [31:0] zero_point,
    input logic signed [31:0] clamp_min,
    input logic signed [31:0] clamp_max,
    output logic signed [31:0] code
);
  logic signed [31:0] shifted, high, quotient, mask, rest, threshold;
  logic signed [63:0] product, nudge, rounded;
  logic [7:0] left, right;

  always_comb begin
    left = shift > 0 ? shift : 8'd0;
    right = shift > 0 ? 8'd0 : -shift;
    shifted = 32'(total) <<< left;
    product = 64'(shifted) * 64'(multiplier);
    nudge = product >= 0 ? 64'sd1 <<< 30 : 64'sd1 - (64'sd1 <<< 30);
    rounded = (product + nudge) / (64'sd1 <<< 31);  // towards zero
    high = rounded[31:0];
    mask = right == 0 ? '0 : 32'((33'sd1 <<< right) - 33'sd1);
    rest = high & mask;
    threshold = (mask >>> 1) + (high < 0 ? 32'sd1 : 32'sd0);
    quotient = (high >>> right) + (rest > threshold ? 32'sd1 : 32'sd0);
    code = quotient + zero_point;
    if (code < clamp_min) code = clamp_min;
    if (code > clamp_max) code = clamp_max;
  end
endmodule
