using System;

namespace Gen3d
{
    /// <summary>How a call went; the numbers are those of gen3d.h.</summary>
    public enum Code
    {
        /// <summary>All is well.</summary>
        Ok = 0,
        /// <summary>An error of the library, or no memory.</summary>
        Internal = 1,
        /// <summary>The request or an argument is wrong.</summary>
        Usage = 2,
        /// <summary>A kernel, backend or operation that this build has not.</summary>
        Missing = 3,
        /// <summary>Nothing was generated: try another seed or prompt.</summary>
        Nothing = 5,
        /// <summary>The bundle was changed, is damaged or of another format.</summary>
        Verification = 7,
        /// <summary>A program failed in its runtime.</summary>
        Program = 9,
        /// <summary>It was asked to stop.</summary>
        Cancelled = 130
    }

    /// <summary>What went wrong, in the library's words: what, where, how to mend it.</summary>
    public sealed class Gen3dException : Exception
    {
        /// <summary>The class of the error.</summary>
        public Code Code { get; }

        /// <summary>An error of that class.</summary>
        public Gen3dException(Code code, string message)
            : base(string.IsNullOrEmpty(message) ? "gen3d: error " + (int)code : message)
        {
            Code = code;
        }
    }
}
