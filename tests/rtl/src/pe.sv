// What a PE of the stationary array computes and keeps: an operand passes, a weight stays, and their product
// joins the sum from above. By itself it is what synthesis counts the gates of.
`include "narrow.svh"

module pe #(
    parameter int LEFT_BITS = 8,
    parameter int TOP_BITS = 8,
    parameter int PSUM_BITS = 32,
    parameter bit SATURATE = 0
) (
    input logic clk,
    input logic enable,  // stands still otherwise
    input logic signed [LEFT_BITS-1:0] value,
    input logic signed [TOP_BITS-1:0] weight,
    input logic signed [PSUM_BITS-1:0] above,
    output logic signed [LEFT_BITS-1:0] passed,
    output logic signed [TOP_BITS-1:0] held,
    output logic signed [PSUM_BITS-1:0] sum
);
  localparam int PRODUCT_BITS = LEFT_BITS + TOP_BITS;
  localparam int WIDE = (PRODUCT_BITS > PSUM_BITS ? PRODUCT_BITS : PSUM_BITS) + 1;
  `NARROW(narrow, WIDE, PSUM_BITS, SATURATE)

  logic signed [PRODUCT_BITS-1:0] product;
  assign product = value * weight;

  always_ff @(posedge clk) if (enable) begin
    passed <= value;
    held <= weight;
    sum <= narrow(WIDE'(above) + WIDE'(product));
  end
endmodule
