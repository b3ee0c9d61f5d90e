/* What ambient.c includes, where the C library keeps it elsewhere. */
#include <malloc/malloc.h>
#define malloc_usable_size malloc_size
