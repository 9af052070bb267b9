// A sum as WIDTH bits hold it: it wraps, or it saturates.
`define NARROW(NAME, WIDE, WIDTH, SATURATE) \
  function automatic signed [(WIDTH)-1:0] NAME(input signed [(WIDE)-1:0] value); \
    reg signed [(WIDE)-1:0] most, least; \
    most = {{((WIDE)-(WIDTH)+1){1'b0}}, {((WIDTH)-1){1'b1}}}; \
    least = ~most; \
    NAME = value[(WIDTH)-1:0]; \
    if ((SATURATE) && value > most) NAME = most[(WIDTH)-1:0]; \
    if ((SATURATE) && value < least) NAME = least[(WIDTH)-1:0]; \
  endfunction
