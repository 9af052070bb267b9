// A sum as WIDTH bits hold it: it wraps, or it saturates.
`define NARROW(NAME, WIDE, WIDTH, SATURATE) \
  function automatic logic signed [(WIDTH)-1:0] NAME(input logic signed [(WIDE)-1:0] value); \
    logic signed [(WIDE)-1:0] most, least; \
    most = (WIDE)'({1'b0, {((WIDTH)-1){1'b1}}}); \
    least = -most - (WIDE)'(1); \
    if ((SATURATE) && value > most) return most[(WIDTH)-1:0]; \
    if ((SATURATE) && value < least) return least[(WIDTH)-1:0]; \
    return value[(WIDTH)-1:0]; \
  endfunction
